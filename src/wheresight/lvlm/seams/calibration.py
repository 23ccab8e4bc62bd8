"""How much attention the tokens of a blank image draw, measured and put to its place again.

Legend: B batch, A query heads, N tokens of an image, Q chosen rows, S key columns.
"""

from __future__ import annotations

import torch

from wheresight.lvlm import columns
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import ImageTokens, Layout


class Calibration:
    """Mean attention of text queries on each token of a blank image, by layer and head.

    Kept by the number of an image in its prompt and by what its tokens are: what a token draws
    hangs on its place.
    """

    def __init__(self) -> None:
        # (A, N) for each layer.
        self._means: dict[tuple[int, ImageTokens], dict[int, torch.Tensor]] = {}

    def holds(self, layout: Layout) -> bool:
        """True if all images of a layout have been measured."""
        return all(
            (number, span.tokens) in self._means
            for spans in layout.images
            for number, span in enumerate(spans)
        )

    def keep(
        self,
        layer: int,
        call: Call,
        weights: torch.Tensor,
        wanted: torch.Tensor,
        visible: torch.Tensor,
    ) -> None:
        """Store what one layer has attended to: of each key, over the rows that may see it.

        Args:
            layer: its number.
            call: the running call.
            weights: (B, A, Q, S), after the softmax.
            wanted: (B or 1, Q) bool, rows that are text.
            visible: (B or 1, 1, Q, S) bool, keys that a row may see.
        """
        counted = (wanted[:, None, :, None] & visible).to(weights.dtype)
        mean = (weights * counted).sum(2) / counted.sum(2).clamp_min(1)
        mean = columns.history_of(mean, call.past + call.tokens)
        found: dict[tuple[int, ImageTokens], list[torch.Tensor]] = {}
        for b, spans in enumerate(call.layout().images):
            for number, span in enumerate(spans):
                part = mean[b, :, span.start : span.stop]
                found.setdefault((number, span.tokens), []).append(part)
        for key, parts in found.items():
            self._means.setdefault(key, {})[layer] = torch.stack(parts).mean(0)

    def placed(self, layer: int, call: Call, like: torch.Tensor) -> torch.Tensor:
        """(B, A, 1, S): the means at the place of each image, 0 elsewhere; `like` (B, A, Q, S)."""
        batch, heads, _, keys = like.shape
        placed = like.new_zeros(batch, heads, call.past + call.tokens)
        for b, spans in enumerate(call.layout().images):
            for number, span in enumerate(spans):
                placed[b, :, span.start : span.stop] = self._means[number, span.tokens][layer]
        return columns.keys_of(placed, keys)[:, :, None]
