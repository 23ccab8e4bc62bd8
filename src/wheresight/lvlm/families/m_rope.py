"""What the families with M-RoPE have in common: any grid, three rows of position ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from wheresight.errors import ModelError
from wheresight.lvlm.families.family import Family, feature_rows, refuse_videos
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class MRope(Family):
    """A family whose ids have rows for time, height and width, still images only.

    An image that begins at id s has the ids (s, s + row, s + column); the text after it goes on at
    s + max(height, width). How far it moves later text, the model keeps from call to call.
    """

    rotary_rows: ClassVar[int] = 3

    def projector(self, model: Any) -> nn.Module | None:
        """The merger at the end of the tower."""
        return model.model.visual.merger

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """From `image_grid_thw`, or, since `generate` drops it, from the rows of position ids."""
        grids = inputs.get("image_grid_thw")
        if grids is not None:
            merge = model.config.vision_config.spatial_merge_size
            return ImageSizes(
                [
                    ImageTokens(t * (h // merge), w // merge)
                    for t, h, w in torch.as_tensor(grids).tolist()
                ]
            )
        positions = _three_rows(inputs)
        if positions is not None:
            return ImageSizes(
                [
                    _read_off(positions[1:, b, start:stop])
                    for b, row_runs in enumerate(runs)
                    for start, stop in row_runs
                ],
                declared=False,
            )
        features = feature_rows(inputs) or ()
        return ImageSizes([ImageTokens(0, 0, loose=len(f)) for f in features], declared=False)

    def check(self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]) -> None:
        """Refuse videos, and images that stock transformers would lay out on a line.

        Without `mm_token_type_ids` it gives image tokens the ids of text, and says nothing: in
        `generate` in every such family, in forward calls in some.
        """
        refuse_videos(inputs)
        if not any(runs) or inputs.get("mm_token_type_ids") is not None:
            return
        if inputs.get("position_ids") is not None:
            positions = _three_rows(inputs)
            spread = positions is not None and any(
                bool((positions[:, b, start:stop] != positions[:1, b, start:stop]).any())
                for b, row_runs in enumerate(runs)
                for start, stop in row_runs
            )
            if spread or all(stop - start == 1 for row_runs in runs for start, stop in row_runs):
                return
        raise ModelError(
            "The inputs hold image tokens but no mm_token_type_ids, so the model would place its "
            "images on a line without rows and columns. Pass everything that the processor "
            "returned, or position_ids of three rows."
        )

    def text_offset(self, model: Any, batch: int) -> torch.Tensor | None:
        """An image takes fewer ids than columns: the same for all rows of ids, (B, 1)."""
        return self.remembered(model, batch)

    def remembered(self, model: Any, batch: int) -> torch.Tensor | None:
        """The offset of text after images, (B, 1), which the model keeps in one mutable slot."""
        deltas = model.model.rope_deltas
        if deltas is None or batch % deltas.shape[0]:
            return None
        # Beam search computes it before it repeats the prompts.
        return deltas.repeat_interleave(batch // deltas.shape[0], dim=0)

    def recall(self, model: Any, remembered: torch.Tensor | None) -> None:
        """Give back to the model the offsets that belong to the cache now in use."""
        if remembered is not None:
            model.model.rope_deltas = remembered


def _three_rows(inputs: Mapping[str, Any]) -> torch.Tensor | None:
    """(3, B, T) position ids if the call brings them; `generate` puts a text row before."""
    ids = inputs.get("position_ids")
    return ids[-3:] if ids is not None and ids.ndim == 3 and ids.shape[0] >= 3 else None


def _read_off(rows: torch.Tensor) -> ImageTokens:
    """The grid of one image from its height and width ids, (2, N)."""
    n = rows.shape[1]
    height, width = (rows.amax(1) - rows.amin(1) + 1).tolist()
    return ImageTokens(height, width) if height * width == n else ImageTokens(0, 0, loose=n)
