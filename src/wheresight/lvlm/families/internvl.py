"""InternVL: tiles of one size, several of which may make one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from wheresight.lvlm.families.family import Family
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class InternVL(Family):
    """InternVLForConditionalGeneration.

    The processor cuts a large picture into tiles, with a view of the whole as the last, and writes
    their tokens one tile after another. Neither prompt nor pixels tell which tiles make a picture,
    nor how they were arranged, so each tile counts as an image of its own.
    """

    name: ClassVar[str] = "internvl"
    model_class: ClassVar[str] = "InternVLForConditionalGeneration"

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """The same for every tile: the tower's patches, less what the pixel shuffle merges."""
        vision = model.config.vision_config
        height, width = (
            int(edge // patch * model.config.downsample_ratio)
            for edge, patch in zip(vision.image_size, vision.patch_size, strict=True)
        )
        return ImageSizes([ImageTokens(height, width)], same=True)
