"""Which image tokens see which: the rules that masks are put together from.

Legend: B batch, Q query rows, T columns of the whole history; the queries are the last Q columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


def by_order(allowed: torch.Tensor, layout: Layout, order: torch.Tensor) -> torch.Tensor:
    """Inside each block of an image, let a query see the keys whose order is not above its own.

    A block is a loose token, the grid of the thumbnail, or the main grid (geometry.Blocks). What
    tokens of different blocks, text and hidden tokens may see stays as it was.

    Args:
        allowed: (B, Q, T) bool, as it was.
        layout: of the B rows and T columns.
        order: (B, T), integer or float; read inside of blocks alone.

    Returns:
        (B, Q, T) bool.

    Raises:
        ModelError: if the grid of an image is not known.
    """
    from wheresight.interventions.geometry import blocks_of

    number = blocks_of(layout).number.to(allowed.device)
    order = order.to(allowed.device)
    start = layout.length - allowed.shape[1]
    same = _same(number, start)
    return allowed.where(~same, order[:, None, :] <= order[:, start:, None])


def inside_images(layout: Layout, queries: int) -> torch.Tensor:
    """(B, Q, T) bool: query and key are tokens of one image, and neither is hidden.

    Args:
        layout: of the B rows and T columns.
        queries: Q.
    """
    from wheresight.lvlm.layout import Kind

    number = layout.image.masked_fill(layout.kind == Kind.HIDDEN, -1)
    return _same(number, layout.length - queries)


def _same(number: torch.Tensor, start: int) -> torch.Tensor:
    queries = number[:, start:, None]
    return (queries == number[:, None, :]) & (queries >= 0)
