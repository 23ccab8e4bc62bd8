"""What an adapter tells about a model family: where its seams are, and nothing of methods."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from wheresight.errors import ModelError
from wheresight.interventions.host import Host
from wheresight.lvlm.spans import ImageSizes, Run


class Family(ABC):
    """Where the seams of one model family are. Adapters hold no state: one serves all models.

    Attributes:
        name: the `model_type` of its configuration.
        model_class: the class in transformers that generates text from images and text.
        rotary_rows: rows of rotary position ids, 1 or 3 (M-RoPE: time, height, width).
        thumbnails: True if an image brings a second, smaller view of itself, whose tokens come
            before those of its main grid.
        prefix_attention: True if each token of a prompt attends to all of the prompt. The keys of
            its beginning then depend on what follows, so prompts cannot share a prefilled one.
        deepstack: the keyword by which the language model is given what it adds to image tokens
            between its layers, or None. Its value is a list with one (N, D) tensor a layer, from
            the first layer on, added to that layer's output; the N rows are the image tokens of
            the call, row of the batch by row, left to right.
    """

    name: ClassVar[str]
    model_class: ClassVar[str]
    rotary_rows: ClassVar[int] = 1
    thumbnails: ClassVar[bool] = False
    prefix_attention: ClassVar[bool] = False
    deepstack: ClassVar[str | None] = None

    def base(self, model: Any) -> nn.Module:
        """The module that is given input ids and images and calls the language model."""
        return model.model

    def language_model(self, model: Any) -> nn.Module:
        """The module that is given embeddings and runs the layers."""
        return model.model.language_model

    def rotary(self, model: Any) -> tuple[nn.Module, ...]:
        """The modules that turn position ids into cosines and sines, for all layers."""
        return (self.language_model(model).rotary_emb,)  # type: ignore[return-value]

    def layers(self, model: Any) -> tuple[nn.Module, ...]:
        """The decoder layers, first to last."""
        return tuple(self.language_model(model).layers)  # type: ignore[arg-type]

    def final_norm(self, model: Any) -> nn.Module:
        """The norm behind the last decoder layer."""
        return self.language_model(model).norm  # type: ignore[return-value]

    def projector(self, model: Any) -> nn.Module | None:
        """The module between the vision tower and the language model, or None if it has none."""
        return getattr(model.model, "multi_modal_projector", None)

    def vision_tower(self, model: Any) -> nn.Module | None:
        """The vision tower, if the model picks among its hidden states; else None."""
        return None

    def post_norm(self, model: Any) -> nn.Module | None:
        """The vision tower's last norm, through which picked hidden states do not go, or None."""
        return None

    def vision_layers(self, config: Any) -> tuple[int, ...] | None:
        """Which hidden states of the vision tower the model picks, or None if it does not pick.

        They are counted from 0, the embeddings; state i is the output of the tower's block i.
        """
        return None

    def kind(self) -> Host:
        """What holds for all models of this family."""
        return Host(
            family=self.name,
            rotary_rows=self.rotary_rows,
            thumbnails=self.thumbnails,
            vision_states=type(self).vision_layers is not Family.vision_layers,
        )

    def host(self, config: Any) -> Host:
        """What a method may ask of a model of this configuration."""
        text, picked = config.get_text_config(), self.vision_layers(config)
        return dataclasses.replace(
            self.kind(),
            vision_states=picked is not None,
            vision_layers=picked,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
        )

    def image_token(self, config: Any) -> int | None:
        """The id of the placeholder that stands for one image token; None if there is none."""
        return getattr(config, "image_token_id", None)

    def unsupported(self, config: Any) -> str | None:
        """One sentence on why a model of this configuration cannot be served, or None."""
        return None

    @abstractmethod
    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """What the tokens of the images are, read from the inputs of a call.

        Args:
            model: the unwrapped model.
            inputs: what the base module is called with, by name; or what a processor returned.
            runs: for each row, the runs of placeholder tokens among these inputs' columns.
        """

    def check(  # noqa: B027 (most families have nothing to refuse)
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> None:
        """Raise ModelError if stock transformers would silently go wrong on this call's images."""

    def blank(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels of blank pictures, as a processor would lay these out: 0 after normalisation."""
        return torch.zeros_like(pixels)

    def take_features(self, outputs: Any, counts: Sequence[int], pictures: Sequence[int]) -> Any:
        """Of the pre-computed features of P pictures those that rows of a batch need.

        Args:
            outputs: what the base module's `get_image_features` returned for the P pictures.
            counts: how many image tokens each of the P pictures has in a prompt.
            pictures: which picture each row of the batch shows, repeats allowed.

        Returns:
            A new object of the same class that holds nothing else, for `mm_encoder_outputs`.
        """
        return type(outputs)(pooler_output=pick(outputs.pooler_output, counts, pictures))

    def join_features(self, parts: Sequence[Any]) -> Any:
        """Pre-computed features of several batches of pictures, one batch behind the other.

        Args:
            parts: what `take_features` returned for each batch.
        """
        return type(parts[0])(pooler_output=join([part.pooler_output for part in parts]))

    def text_offset(self, model: Any, batch: int) -> torch.Tensor | None:
        """How far the model's ids of text behind its latest prompts are from the text's columns.

        Args:
            model: the unwrapped model, which has just run B prompts with their images, unpadded.
            batch: B.

        Returns:
            (B, 1), or None where a column's id is its number.
        """
        return None

    def remembered(self, model: Any, batch: int) -> torch.Tensor | None:
        """What the model keeps of its latest call of B rows on itself, (B, ...), or None.

        It is stored with the cache and put back by `recall` before the cache is used again, so
        that caches may be used in turn.
        """
        return None

    def recall(  # noqa: B027 (most families keep nothing)
        self, model: Any, remembered: torch.Tensor | None
    ) -> None:
        """Put back what `remembered` returned."""


def pick(features: Any, counts: Sequence[int], pictures: Sequence[int]) -> Any:
    """Features of these pictures, in the kind of container they came in.

    Args:
        features: one (N, D) tensor a picture; or (M, k, D), k tokens for each of M tiles.
        counts: image tokens of each picture.
        pictures: which to take.
    """
    if not isinstance(features, torch.Tensor):
        return [features[n] for n in pictures]
    parts = features.split([count // features.shape[1] for count in counts])
    return torch.cat([parts[n] for n in pictures])


def join(parts: Sequence[Any]) -> Any:
    """Features of several batches in one container of the kind that each came in."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(list(parts))
    return [features for part in parts for features in part]


def feature_rows(inputs: Mapping[str, Any]) -> list[torch.Tensor] | None:
    """Pre-computed features of a call, one (N, D) an image or sample; None if there are none."""
    outputs = inputs.get("mm_encoder_outputs")
    if isinstance(outputs, torch.Tensor):  # an old form that some models still take
        return list(outputs)
    image = outputs.get("image") if outputs else None
    pooled = getattr(image, "pooler_output", None)
    return None if pooled is None else list(pooled)


def has_image_features(inputs: Mapping[str, Any]) -> bool:
    """True if a call brings images: pixels or pre-computed features."""
    return inputs.get("pixel_values") is not None or feature_rows(inputs) is not None


def refuse_videos(inputs: Mapping[str, Any]) -> None:
    """Raise ModelError if a call brings a video, whose tokens would be taken for text."""
    outputs = inputs.get("mm_encoder_outputs")
    features = outputs.get("video") if isinstance(outputs, Mapping) else None
    if inputs.get("pixel_values_videos") is not None or features is not None:
        raise ModelError("A video was given; only still images are supported.")


def refuse_missing_types(
    inputs: Mapping[str, Any], runs: list[list[Run]], consequence: str
) -> None:
    """Raise ModelError if a model that makes its mask from token_type_ids is not given them."""
    mask = inputs.get("attention_mask")
    explicit = isinstance(mask, Mapping) or (mask is not None and mask.ndim == 4)
    if any(runs) and inputs.get("token_type_ids") is None and not explicit:
        raise ModelError(
            f"The inputs hold image tokens but no token_type_ids, so {consequence}. Pass "
            "everything that the processor returned."
        )
