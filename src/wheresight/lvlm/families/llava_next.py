"""LLaVA-NeXT (1.6): a thumbnail, then a grid of higher resolution whose rows end in newlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from wheresight.lvlm.families.family import feature_rows
from wheresight.lvlm.families.selecting_tower import SelectingTower
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class LlavaNext(SelectingTower):
    """LlavaNextForConditionalGeneration with a Llama, Mistral or other text tower."""

    name: ClassVar[str] = "llava_next"
    model_class: ClassVar[str] = "LlavaNextForConditionalGeneration"
    thumbnails: ClassVar[bool] = True

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """From `image_sizes`, or, since `generate` drops those, from the features' newline rows."""
        sizes = inputs.get("image_sizes")
        if sizes is not None:
            pixels = torch.as_tensor(sizes).tolist()
            return ImageSizes(self.packed(model.config, pixels, inputs))
        features = feature_rows(inputs)
        if features is None:
            return ImageSizes(declared=False)
        newline = model.model.image_newline
        return ImageSizes(
            [
                self.read_off(side_of(model.config), image, newline.to(image.device, image.dtype))
                for image in features
            ],
            declared=False,
        )

    def packed(
        self, config: Any, sizes: Sequence[Sequence[int]], inputs: Mapping[str, Any]
    ) -> list[ImageTokens]:
        """The tokens of pictures of these heights and widths in pixels, as the model packs them."""
        return [with_thumbnail(config, *grid_of(config, *size)) for size in sizes]

    def read_off(self, side: int, features: torch.Tensor, newline: torch.Tensor) -> ImageTokens:
        """The grid of packed features (N, D): a row ends where the newline embedding stands."""
        ends = (features == newline).all(-1).nonzero().flatten().tolist()
        columns = ends[0] - side * side if ends else -1
        tokens = ImageTokens(len(ends), max(columns, 0), thumbnail=(side, side), newlines=True)
        if columns < 1 or tokens.count != len(features):
            return ImageTokens(0, 0, loose=len(features))
        return tokens


def side_of(config: Any) -> int:
    """Rows and columns of one tile's patches."""
    return int(config.vision_config.image_size // config.vision_config.patch_size)


def with_thumbnail(config: Any, rows: int, columns: int) -> ImageTokens:
    """The thumbnail, then rows x columns patches with a newline at the end of each row."""
    side = side_of(config)
    return ImageTokens(rows, columns, thumbnail=(side, side), newlines=True)


def grid_of(config: Any, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches that are kept of a picture of height x width pixels."""
    from transformers.image_processing_utils import select_best_resolution

    best = select_best_resolution((height, width), config.image_grid_pinpoints)
    rows, columns = (side_of(config) * (edge // config.vision_config.image_size) for edge in best)
    # The picture was fitted into rows x columns with its aspect kept; the margins are cut away.
    # Divisions and rounding are those of the packing, so that ties fall on the same side.
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        rows -= 2 * ((rows - kept) // 2)
    else:
        kept = int(round(width * (rows / height), 7))
        columns -= 2 * ((columns - kept) // 2)
    return rows, columns
