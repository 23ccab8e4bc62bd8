"""Idefics3: tiles of one size, with text between the tiles of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from wheresight.lvlm.families.family import Family
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class Idefics3(Family):
    """Idefics3ForConditionalGeneration.

    The processor cuts a large picture into tiles, with a view of the whole as the last, and writes
    text tokens that name row and column before each. So a picture has several runs of image
    tokens, and each run (tile) counts as an image of its own.
    """

    name: ClassVar[str] = "idefics3"
    model_class: ClassVar[str] = "Idefics3ForConditionalGeneration"

    def language_model(self, model: Any) -> nn.Module:
        """The module that is given embeddings and runs the layers."""
        return model.model.text_model

    def projector(self, model: Any) -> nn.Module | None:
        """The connector, which also joins neighbouring tokens."""
        return model.model.connector

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """The same for every tile: the tower's patches, less what the pixel shuffle merges."""
        vision = model.config.vision_config
        side = vision.image_size // vision.patch_size // model.config.scale_factor
        return ImageSizes([ImageTokens(side, side)], same=True)

    def blank(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels of blank pictures: 0, but for one value in each tile.

        The model takes a tile of nothing but 0 for padding, and drops it.
        """
        real = (pixels != 0).flatten(-3).any(-1)
        blank = torch.zeros_like(pixels)
        blank[..., 0, 0, 0] = real * 1e-4
        return blank
