"""As many image tokens as before, with what is left of them after pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import ImageTokens, Layout


@dataclass(frozen=True)
class PoolBroadcast(Intervention):
    """Each grid is pooled as by `pool`, then each token gets the value of the cell it lies in.

    The control for `pool`: the number of tokens, their positions and the mask stay, only the
    detail goes. Token (r, c) of an H x W grid gets cell (floor(r h / H), floor(c w / W)) of h x w.
    Newline and loose tokens stay.

    Parameters:
        side: largest number of cells along each side of a grid, from 1. Grids that are no larger
            stay as they are, bit for bit.

    Raises:
        SpecError: side is out of range.
    """

    name: ClassVar[str] = "pool_broadcast"
    example: ClassVar[str] = "side=2"
    whole_images: ClassVar[bool] = True
    moves_tokens: ClassVar[bool] = True

    side: int

    def __post_init__(self) -> None:
        whole_number(self.name, "side", self.side, 1, 1 << 20)

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), grids made coarse; the same tensor if none changes.

        Raises:
            ModelError: the grid of an image is not known, or an image is not whole.
        """
        from wheresight.interventions.features.pooling import rewrite_pooled

        return rewrite_pooled(self.name, embeddings, layout, self.side, _coarse)


def _coarse(images: torch.Tensor, old: ImageTokens, new: ImageTokens) -> torch.Tensor:
    """Images (K, N, D) with the values of their pooled grids, in the old order."""
    import torch

    from wheresight.interventions.features.pooling import average, nearest, pieces

    def spread(grid: torch.Tensor, height: int, width: int) -> torch.Tensor:
        rows, columns = nearest(grid.shape[1], height), nearest(grid.shape[2], width)
        return average(grid, height, width)[:, rows][:, :, columns]

    loose, thumbnail, main, newlines, closing, hidden = pieces(images, old)
    thumbnail = spread(thumbnail, *new.thumbnail)
    main = torch.cat([spread(main, new.height, new.width), newlines], 2)
    parts = [loose, thumbnail.flatten(1, 2), main.flatten(1, 2), closing, hidden]
    return torch.cat(parts, 1)
