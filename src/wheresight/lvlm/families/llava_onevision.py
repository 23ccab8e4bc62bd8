"""LLaVA-OneVision: as LLaVA-NeXT, but large grids are shrunk, and several images stay small."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from wheresight.lvlm.families.family import refuse_videos
from wheresight.lvlm.families.llava_next import LlavaNext, grid_of, side_of, with_thumbnail
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import Run


class LlavaOnevision(LlavaNext):
    """LlavaOnevisionForConditionalGeneration, still images only.

    The one image of a prompt is a thumbnail, then a grid whose rows end in newlines; above a
    certain number of patches the grid is interpolated to a smaller one. Each of several images is
    one tile, without thumbnail, and a newline at its end (`batch_num_images` tells the two apart).
    """

    name: ClassVar[str] = "llava_onevision"
    model_class: ClassVar[str] = "LlavaOnevisionForConditionalGeneration"

    def packed(
        self, config: Any, sizes: Sequence[Sequence[int]], inputs: Mapping[str, Any]
    ) -> list[ImageTokens]:
        """The tokens of pictures of these heights and widths in pixels, as the model packs them."""
        together = inputs.get("batch_num_images")
        alone: Any = itertools.repeat(True)
        if together is not None:
            counts = torch.as_tensor(together).tolist()
            alone = [count == 1 for count in counts for _ in range(count)]
        side = side_of(config)
        return [
            with_thumbnail(config, *_shrunk(config, *grid_of(config, *size)))
            if single
            else ImageTokens(side, side, closing=True)
            for size, single in zip(sizes, alone, strict=False)
        ]

    def read_off(self, side: int, features: torch.Tensor, newline: torch.Tensor) -> ImageTokens:
        """The grid of packed features (N, D), from their number or the place of the newlines."""
        # A thumbnail and a grid below it would take more.
        if len(features) == side * side + 1:
            return ImageTokens(side, side, closing=True)
        return super().read_off(side, features, newline)

    def check(self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]) -> None:
        """Refuse videos."""
        refuse_videos(inputs)


def _shrunk(config: Any, rows: int, columns: int) -> tuple[int, int]:
    """What is left of a grid of rows x columns patches, by `vision_aspect_ratio`."""
    tiles = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
    ratio = math.sqrt(rows * columns / (tiles * side_of(config) ** 2))
    return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)
