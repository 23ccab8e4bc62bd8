"""ID-Align: tokens of the main grid take the ids of the thumbnail's tokens that they lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import ImageSpan, Layout


@dataclass(frozen=True)
class IDAlign(Layered):
    """A token of the main grid inherits the id of its thumbnail cell; text follows the thumbnail.

    Li & Zhang 2025, arXiv 2505.21465. The token at (r, c) of the H x W grid lies in the cell
    (floor(r h / H), floor(c w / W)) of the h x w thumbnail; a newline inherits from the token
    before it. So an image that begins at i takes up its thumbnail's h w ids, and text goes on at
    i + h w. An image without a thumbnail keeps its ids, moved as a whole.
    """

    name: ClassVar[str] = "id_align"
    paper: ClassVar[str] = "Li & Zhang 2025, arXiv 2505.21465"

    def refuses(self, host: Host) -> str | None:
        """It asks for a thumbnail."""
        if not host.thumbnails:
            return (
                "id_align gives an image the ids of its thumbnail, but images of this family have "
                "no thumbnail."
            )
        return super().refuses(host)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T).

        Raises:
            ModelError: if the grid of an image is not known.
        """
        from wheresight.interventions.geometry import arrange, bounds, taken_from

        image, most = layout.image, layout.most_images
        aligned = ids.gather(2, taken_from(layout, _order).expand_as(ids))
        first, last = bounds(aligned, image, most)
        offset = aligned - first.gather(1, image.clamp_min(0))
        return arrange(ids, image, most, offset, (last - first)[:, :most] + 1)


def _order(number: int, span: ImageSpan) -> torch.Tensor:
    """For each token of an image, the token whose id it takes."""
    import torch

    from wheresight.interventions.geometry import check_known
    from wheresight.lvlm.layout import Kind

    tokens = span.tokens
    check_known(tokens)
    kind, row, column = tokens.table()[:, : span.stop - span.start]
    own = torch.arange(len(kind))
    height, width = tokens.thumbnail
    if height * width == 0:
        return own
    column = column.clamp_max(tokens.width - 1)  # of newlines
    cell = row * height // max(tokens.height, 1) * width + column * width // max(tokens.width, 1)
    main = (kind == Kind.PATCH) | (kind == Kind.NEWLINE)
    # No one looks at a hidden token; on the first id it takes up none of its own.
    return torch.where(main, tokens.loose + cell, own).masked_fill(kind == Kind.HIDDEN, 0)
