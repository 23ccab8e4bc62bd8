"""Manhattan causal attention: ids count the steps from the nearest corner of the image grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.geometry import Blocks
    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class MCA(Layered):
    """An image token gets i + f(r) + g(c), f(r) = min(r, H - 1 - r), g(c) = min(c, W - 1 - c).

    Manhattan Causal Attention 2025, arXiv 2507.09184 (ACM MM 2025): the Manhattan distance from
    the nearest corner. The corners come first and the centre last; a square grid of even side H
    takes up H - 1 ids, and text goes on behind them. With `mask`, a token sees the tokens of its
    image whose ids are not above its own. Under M-RoPE all three rows of an image token are equal.

    The released code is for one image of 24 x 24 a prompt, and in a batch it changes the mask of
    the first row alone. Here grids may be odd or not square, each row has its own images, and the
    blocks of an image (thumbnail, main grid, loose tokens) follow each other; a newline has the id
    of the last token of its row.

    Parameters:
        mask: bring the method's mask along; false leaves the model's own.
    """

    name: ClassVar[str] = "mca"
    paper: ClassVar[str] = "Manhattan Causal Attention 2025, arXiv 2507.09184"

    mask_: bool = True

    def __post_init__(self) -> None:
        # Only the mask lets a token see later ones of its image.
        object.__setattr__(self, "whole_images", self.mask_)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T).

        Raises:
            ModelError: if the grid of an image is not known.
        """
        from wheresight.interventions.geometry import arrange, blocks_of

        blocks = blocks_of(layout)
        longest = (blocks.height - 1) // 2 + (blocks.width - 1) // 2
        takes = blocks.per_block(longest + 1)
        return arrange(ids, blocks.owner, blocks.most, _steps(blocks)[None], takes)

    def mask(
        self, allowed: torch.Tensor, layout: Layout, ids: torch.Tensor, layer: int
    ) -> torch.Tensor:
        """Return the mask (B, Q, T): inside a block, keys as near to a corner as the query."""
        from wheresight.interventions.geometry import blocks_of
        from wheresight.interventions.masks.rules import by_order

        if not self.mask_:
            return allowed
        return by_order(allowed, layout, _steps(blocks_of(layout)))


def _steps(blocks: Blocks) -> torch.Tensor:
    """(B, T) int64: Manhattan distance from the nearest corner of the grid."""
    rows, columns = blocks.from_rim
    return rows + columns
