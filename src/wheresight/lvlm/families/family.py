"""What an adapter tells about a model family: where its seams are, and nothing of methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from wheresight.lvlm.spans import ImageSizes, Run


class Family(ABC):
    """Where the seams of one model family are. Adapters hold no state: one serves all models.

    Attributes:
        name: the `model_type` of its configuration.
        model_class: the class in transformers that generates text from images and text.
        rotary_rows: rows of rotary position ids, 1 or 3 (M-RoPE: time, height, width).
    """

    name: ClassVar[str]
    model_class: ClassVar[str]
    rotary_rows: ClassVar[int] = 1

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


def feature_rows(inputs: Mapping[str, Any]) -> list[torch.Tensor] | None:
    """Pre-computed features of a call, one (N, D) an image; None if there are none."""
    outputs = inputs.get("mm_encoder_outputs")
    image = outputs.get("image") if outputs else None
    pooled = getattr(image, "pooler_output", None)
    return None if pooled is None else list(pooled)


def has_image_features(inputs: Mapping[str, Any]) -> bool:
    """True if a call brings images: pixels or pre-computed features."""
    return inputs.get("pixel_values") is not None or feature_rows(inputs) is not None
