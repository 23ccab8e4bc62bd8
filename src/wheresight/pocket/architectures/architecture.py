"""What differs between the pocket models: class, prompt, and how a picture enters the decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import IMAGE

if TYPE_CHECKING:
    import torch

# Mean and spread of the training scenes, whose backgrounds are mostly light.
MEAN, STD = (0.75, 0.75, 0.75), (0.25, 0.25, 0.25)


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The projector's last linear map, from inner vectors x to image tokens.

    Attributes:
        weight: (D, D_in), a view of the parameter; a token is ``weight @ x + bias``.
        bias: (D,), or None.
        watch: takes a list; the returned hook appends the inner vectors of each call to it.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    watch: Callable[[list[Any]], Any]


class Architecture(ABC):
    """One stock class in small.

    Attributes:
        name: the class's ``model_type``.
        about: tower, projector and decoder in a few words.
        marks: special tokens beside those that all have, by the role the processor knows.
        before, after: text between the user's turn and the first image token, and from the last
            one to the question.
        marker: what the chat template writes for a picture; the processor makes of it what
            ``before``, the image tokens and ``after`` say.
        changes: what its recipe has other than the family's.
        word_scale: what the embedding layer multiplies its table by.
        both_ways: whether the tokens of an image attend to each other in both directions.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    marks: ClassVar[dict[str, str]] = {}
    before: ClassVar[str] = ""
    after: ClassVar[str] = "\n"
    marker: ClassVar[str] = f"{IMAGE}\n"
    changes: ClassVar[dict[str, Any]] = {}
    word_scale: ClassVar[float] = 1.0
    both_ways: ClassVar[bool] = False

    @abstractmethod
    def build(self, recipe: Recipe, tokenizer: Any) -> Any:
        """The stock model with the stock initial weights, float32."""

    @abstractmethod
    def processor(self, recipe: Recipe, tokenizer: Any, template: str) -> Any:
        """The stock processor: pictures become squares of ``image_size`` px."""

    @abstractmethod
    def last_layer(self, model: Any) -> LastLayer:
        """The last linear map before the decoder."""

    def tower(self, model: Any) -> Any:
        """The vision tower's module."""
        return model.model.vision_tower

    def vision(self, model: Any) -> dict[str, Any]:
        """Tower and projector, which may be a part of the tower."""
        inner = model.model
        return {"tower": inner.vision_tower, "projector": inner.multi_modal_projector}

    def features(self, model: Any, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, N, D): what the decoder receives for each image token."""
        output = model.model.get_image_features(pixel_values=pixels)
        return self.stacked(output, pixels.shape[0])

    def positions(self, start: int, side: int) -> tuple[list[Any], int]:
        """Rotary positions of an image's tokens, row-major, and the one after it.

        Args:
            start: position of the image's first token.
            side: tokens in a row and in a column.
        """
        return list(range(start, start + side * side)), start + side * side

    def decode(
        self, model: Any, embeds: torch.Tensor, allowed: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """(B, L, D) last hidden states.

        Args:
            model: the model.
            embeds: (B, L, D).
            allowed: (B, 1, L, L) bool.
            positions: (B, L), or (B, L, 3) where ``positions`` gives triples.
        """
        output = model.model.language_model(
            inputs_embeds=embeds, attention_mask=allowed, position_ids=positions, use_cache=False
        )
        states: torch.Tensor = output.last_hidden_state
        return states

    def stacked(self, output: Any, count: int) -> torch.Tensor:
        """(B, N, D) from what ``get_image_features`` returns for so many pictures."""
        import torch

        features = getattr(output, "pooler_output", output)
        if isinstance(features, (tuple, list)):
            features = torch.stack(list(features))
        return features.reshape(count, -1, features.shape[-1])


def watch_input(module: Any) -> Callable[[list[Any]], Any]:
    """A watcher of what a module is given."""
    return lambda found: module.register_forward_pre_hook(lambda _, args: found.append(args[0]))


def watch_output(module: Any) -> Callable[[list[Any]], Any]:
    """A watcher of what a module returns."""
    return lambda found: module.register_forward_hook(lambda _, args, out: found.append(out))
