"""Circle-RoPE: image tokens on a circle around the line on which text tokens are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class CircleRoPE(Layered):
    """Under M-RoPE image tokens are on a circle of radius R around the text's line, at its id i.

    Wang et al. 2025, arXiv 2505.16416 (ICML 2026). On axes (w, h, t) text is on the line along
    n = (1, 1, 1) / sqrt(3), and an image token gets (i, i, i) + R cos(a) u + R sin(a) v with
    u = (-1, 1, 0) / sqrt(2) and v = n x u, so each text token is equally far from all tokens of an
    image. The angle a mixes the direction from the grid's centre, stretched over the full circle,
    with the token's place in the raster: a = alpha d + (1 - alpha) 2 pi t / (H W). Text goes on at
    the image's largest id plus one; after a circle that is no whole number. Ids are float32.

    Radius 0 is BaPA, for images of one block. The alternating layers of the paper (AGE) are
    `layers=even` or `layers=odd`: the others keep the ids of M-RoPE. The released code is for a
    batch of one; here any row, any number of images and any grid have circles of their own. In a
    grid of one row or column the stretch takes the two directions there are to one point, as in
    the paper's formula, and alpha below 1 keeps tokens apart; in a grid of one token d is 0. A
    loose token has no direction and stays on the line.

    Parameters:
        radius: R, in ids.
        alpha: weight of the direction against the place in the raster, 0 to 1.
    """

    name: ClassVar[str] = "circle"
    paper: ClassVar[str] = "Wang et al. 2025, arXiv 2505.16416"

    radius: float = 10.0
    alpha: float = 0.5

    def __post_init__(self) -> None:
        number_in(self.name, "radius", self.radius, 0, 1e5)
        number_in(self.name, "alpha", self.alpha, 0, 1)

    def refuses(self, host: Host) -> str | None:
        """It asks for M-RoPE."""
        if host.rotary_rows == 1:
            return (
                "circle needs the three rotary rows of M-RoPE for a circle to be in, but this "
                "family has one rotary id a token."
            )
        return super().refuses(host)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return float ids (3, B, T).

        Raises:
            ModelError: if the grid of an image is not known.
        """
        import torch

        from wheresight.interventions.geometry import arrange, blocks_of, grids_of
        from wheresight.lvlm.layout import Kind

        blocks = blocks_of(layout)
        real = torch.promote_types(ids.dtype, torch.float32)
        placed = blocks.inside & (layout.kind != Kind.LOOSE)
        cell = blocks.row * blocks.width + blocks.column
        offset = torch.zeros(3, *cell.shape, dtype=real, device=ids.device)
        for height, width in grids_of(layout):
            here = placed & (blocks.height == height) & (blocks.width == width)
            ring = self._points(height, width).to(offset)
            offset = torch.where(here, ring[:, cell.clamp_max(height * width - 1)], offset)
        takes = blocks.per_block(offset.amax(0).clamp_min(0)) + 1
        return arrange(ids.to(real), blocks.owner, blocks.most, offset, takes)

    def _points(self, height: int, width: int) -> torch.Tensor:
        """Rows (t, h, w) of each cell's offset from (i, i, i), (3, H * W) float64."""
        import torch

        angle = angles(height, width, self.alpha)
        across = self.radius * angle.cos() / math.sqrt(2)
        along = self.radius * angle.sin() / math.sqrt(6)
        return torch.stack([2 * along, across - along, -across - along])


def angles(height: int, width: int, alpha: float) -> torch.Tensor:
    """The angle of each cell of a grid, row-major, (H * W,) float64 in radians."""
    import torch

    raster = torch.arange(height * width, dtype=torch.float64)
    row, column = raster // width, raster % width
    direction = torch.atan2(row - (height - 1) / 2, column - (width - 1) / 2)
    low, high = direction.aminmax()
    if high > low:
        direction = (direction - low) / (high - low) * (2 * math.pi)
    return alpha * direction + (1 - alpha) * 2 * math.pi * raster / (height * width)
