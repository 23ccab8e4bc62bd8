"""Pyramid-descent visual position encoding: rings whose middle grows into one, layer by layer."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered
from wheresight.interventions.ranges import whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.geometry import Blocks
    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class PyPE(Layered):
    """In layer l an image token gets i + min(ring, cap), cap = M - min(M, floor(l / jump) + 1).

    Chen et al. 2025, arXiv 2501.10967 (Findings of ACL 2025). ring is 0 on the rim of the grid and
    M is the number of rings, ceil(min(H, W) / 2); text goes on at i + cap + 1. The first layers
    have CCA's ids; every `jump` layers the innermost two rings become one. With `mask`, a token
    sees the tokens of its image whose ids are not above its own. Once cap is 0 the ids are those
    of BaPA, and the mask lets all tokens of an image see each other. Under M-RoPE all three rows
    of an image token are equal.

    The released code is for one image of 24 x 24 a prompt. Here grids may be odd or not square,
    each row has its own images, and the blocks of an image (thumbnail, main grid, loose tokens)
    follow each other, each with an M of its own; a newline is on the ring of the last token of
    its row.

    Parameters:
        jump: after how many layers the cap falls by one. The released code reads it from the
            model's name, so there is no default. With M rings the cap is 0 from layer
            (M - 1) jump on.
        mask: bring the method's mask along; false leaves the model's own.
    """

    name: ClassVar[str] = "pype"
    example: ClassVar[str] = "jump=1"
    paper: ClassVar[str] = "Chen et al. 2025, arXiv 2501.10967"

    jump: int
    mask_: bool = True

    def __post_init__(self) -> None:
        whole_number(self.name, "jump", self.jump, 1, 1000)
        # Only the mask lets a token see later ones of its image.
        object.__setattr__(self, "whole_images", self.mask_)

    def layer_key(self, layer: int) -> Hashable:
        """The step of the descent that a layer is at; None outside of `layers`."""
        return None if super().layer_key(layer) is None else layer // self.jump

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T) of this layer.

        Raises:
            ModelError: if the grid of an image is not known.
        """
        from wheresight.interventions.geometry import arrange, blocks_of

        blocks = blocks_of(layout)
        cap = self._cap(blocks, layer)
        offset = blocks.ring.minimum(cap)
        return arrange(ids, blocks.owner, blocks.most, offset[None], blocks.per_block(cap + 1))

    def mask(
        self, allowed: torch.Tensor, layout: Layout, ids: torch.Tensor, layer: int
    ) -> torch.Tensor:
        """Return the mask (B, Q, T): inside a block, keys whose ids are not above the query's."""
        from wheresight.interventions.geometry import blocks_of
        from wheresight.interventions.masks.rules import by_order

        if not self.mask_:
            return allowed
        blocks = blocks_of(layout)
        return by_order(allowed, layout, blocks.ring.minimum(self._cap(blocks, layer)))

    def _cap(self, blocks: Blocks, layer: int) -> torch.Tensor:
        """(B, T) int64: the largest offset in each token's block."""
        return (blocks.rings - (layer // self.jump + 1)).clamp_min(0)
