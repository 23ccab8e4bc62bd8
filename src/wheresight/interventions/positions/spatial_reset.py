"""Spatial reset: rows and columns of an image counted from the beginning of the row of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class SpatialReset(Layered):
    """Under M-RoPE an image token at row r and column c gets (i, r, c); text goes on as before.

    Huang et al. 2025, arXiv 2510.23095: the position design of MRoPE-I and MHRoPE, without their
    frequency allocation. Stock M-RoPE gives (i, i + r, i + c), so that rows and columns drift with
    the image's place in the prompt; here they begin at 0 in every image. Text goes on at
    i + max(H, W), where stock M-RoPE puts it.

    0 is the id of the row's first token, whatever that is: the model may count from any number,
    and left padding has none. A loose token is at row and column 0.
    """

    name: ClassVar[str] = "spatial_reset"
    paper: ClassVar[str] = "Huang et al. 2025, arXiv 2510.23095"

    def refuses(self, host: Host) -> str | None:
        """It asks for M-RoPE."""
        if host.rotary_rows == 1:
            return (
                "spatial_reset counts the rows and columns of M-RoPE anew, but this family has one "
                "rotary id a token."
            )
        return super().refuses(host)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (3, B, T).

        Raises:
            ModelError: if the grid of an image is not known.
        """
        import torch

        from wheresight.interventions.geometry import arrange, blocks_of
        from wheresight.lvlm.layout import Kind

        blocks = blocks_of(layout)
        takes = blocks.per_block(torch.maximum(blocks.height, blocks.width))
        new = arrange(ids, blocks.owner, blocks.most, ids.new_zeros(1, 1, 1), takes)
        # Padding must not be the row's first token; a row of nothing else may have any.
        least = ids.amin(0)
        last = least.amax(1, keepdim=True)
        origin = torch.where(layout.kind == Kind.PAD, last, least).amin(1, keepdim=True)
        reset = torch.stack([new[0], origin + blocks.row, origin + blocks.column])
        return torch.where(blocks.inside, reset, new)
