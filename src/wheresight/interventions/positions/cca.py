"""Concentric causal attention: ids count the rings of the image grid from its rim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class CCA(Layered):
    """An image token gets i + ring, ring = min(r, c, H - 1 - r, W - 1 - c); text goes on behind.

    Xing et al. 2024, arXiv 2410.15926 (NeurIPS 2024). The rim comes first and the centre last, so
    the centre is nearest to the text after the image. A grid has ceil(min(H, W) / 2) rings and
    takes up as many ids. With `mask`, a token sees the tokens of its image on its own ring and on
    those outside of it. Under M-RoPE all three rows of an image token are equal.

    The released code is for one image of 24 x 24 a prompt, and in a batch it changes the mask of
    the first row alone. Here grids may be odd or not square, each row has its own images, and the
    blocks of an image (thumbnail, main grid, loose tokens) follow each other, each with its own
    rings; a newline is on the ring of the last token of its row.

    Parameters:
        mask: bring the method's mask along; false leaves the model's own.
    """

    name: ClassVar[str] = "cca"
    paper: ClassVar[str] = "Xing et al. 2024, arXiv 2410.15926"

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
        takes = blocks.per_block(blocks.rings)
        return arrange(ids, blocks.owner, blocks.most, blocks.ring[None], takes)

    def mask(
        self, allowed: torch.Tensor, layout: Layout, ids: torch.Tensor, layer: int
    ) -> torch.Tensor:
        """Return the mask (B, Q, T): inside a block, keys on the query's ring or outside of it."""
        from wheresight.interventions.geometry import blocks_of
        from wheresight.interventions.masks.rules import by_order

        if not self.mask_:
            return allowed
        return by_order(allowed, layout, blocks_of(layout).ring)
