"""VideoRoPE: the image grid centred on the id where it begins, time on the lowest frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class VideoRoPE(Layered):
    """Under M-RoPE (i, i + r - floor((H - 1) / 2), i + c - floor((W - 1) / 2)); text at i + 1.

    Wei et al. 2025, arXiv 2502.05173, for still images: the diagonal layout, with the middle of
    the grid on the line of the text, and the low-frequency temporal allocation. An image is one
    frame, so the spacing of frames has nothing to act on, and all tokens have the t of BaPA.

    Of the rotary pairs the last quarter, which turns slowest, is for t; h and w alternate on the
    rest, h first. The paper keeps the shares of its host, 16 t, 24 h and 24 w of 64 pairs; a
    quarter is that share for any head size, and hosts with other shares get it too.
    """

    name: ClassVar[str] = "videorope"
    paper: ClassVar[str] = "Wei et al. 2025, arXiv 2502.05173"

    def refuses(self, host: Host) -> str | None:
        """It asks for M-RoPE."""
        if host.rotary_rows == 1:
            return (
                "videorope moves the time, rows and columns of M-RoPE, but this family has one "
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

        blocks = blocks_of(layout)
        rows = blocks.row - (blocks.height - 1) // 2
        columns = blocks.column - (blocks.width - 1) // 2
        offset = torch.stack([torch.zeros_like(rows), rows, columns])
        takes = blocks.per_block(torch.ones_like(rows))
        return arrange(ids, blocks.owner, blocks.most, offset, takes)

    def axes(self, pairs: int) -> torch.Tensor:
        """Rows 1 and 2 (h, w) in turn on the fast pairs, row 0 (t) on the last quarter."""
        import torch

        pair = torch.arange(pairs)
        return torch.where(pair < pairs - pairs // 4, 1 + pair % 2, 0)
