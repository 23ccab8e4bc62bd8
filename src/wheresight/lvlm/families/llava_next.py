"""LLaVA-NeXT (1.6): a thumbnail, then a grid of higher resolution whose rows end in newlines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from wheresight.lvlm.families.family import Family, feature_rows
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class LlavaNext(Family):
    """LlavaNextForConditionalGeneration with a Llama, Mistral or other text tower."""

    name: ClassVar[str] = "llava_next"
    model_class: ClassVar[str] = "LlavaNextForConditionalGeneration"

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """From `image_sizes`, or, since `generate` drops those, from the features' newline rows."""
        sizes = inputs.get("image_sizes")
        if sizes is not None:
            return ImageSizes(
                [_tokens(model.config, *size) for size in torch.as_tensor(sizes).tolist()]
            )
        features = feature_rows(inputs)
        if features is None:
            return ImageSizes(declared=False)
        return ImageSizes([_read_off(model, image) for image in features], declared=False)


def _side(config: Any) -> int:
    return int(config.vision_config.image_size // config.vision_config.patch_size)


def _tokens(config: Any, height: int, width: int) -> ImageTokens:
    """The tokens of a picture of height x width pixels, as the model packs its features."""
    from transformers.image_processing_utils import select_best_resolution

    side = _side(config)
    best = select_best_resolution((height, width), config.image_grid_pinpoints)
    rows, columns = (side * (edge // config.vision_config.image_size) for edge in best)
    # The picture was fitted into rows x columns with its aspect kept; the margins are cut away.
    # Integer products decide which way it is wide, the packing's own rounding where it ends.
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        rows -= 2 * ((rows - kept) // 2)
    else:
        kept = int(round(width * (rows / height), 7))
        columns -= 2 * ((columns - kept) // 2)
    return ImageTokens(rows, columns, thumbnail=(side, side), newlines=True)


def _read_off(model: Any, features: torch.Tensor) -> ImageTokens:
    """The grid of packed features (N, D): a row ends where the newline embedding itself stands."""
    side = _side(model.config)
    newline = model.model.image_newline.to(features.device, features.dtype)
    ends = (features == newline).all(-1).nonzero().flatten().tolist()
    rows = len(ends)
    columns = ends[0] - side * side if ends else -1
    tokens = ImageTokens(rows, max(columns, 0), thumbnail=(side, side), newlines=True)
    if columns < 1 or tokens.count != len(features):
        return ImageTokens(0, 0, loose=len(features))
    return tokens
