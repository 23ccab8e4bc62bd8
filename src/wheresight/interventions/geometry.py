"""Where each image token is in a grid, and how ids are given out block by block.

An image is a row of blocks: each loose token, the thumbnail's grid, the main grid. A method that
arranges a grid arranges each block alone, and the blocks of an image follow each other.

Legend: R rotary rows, B batch, T tokens, C the largest number of blocks (or images) in a row.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, Layout


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of all images of a batch.

    Attributes:
        number: (B, T) int64, which block of its row a token is in, counted over all its images
            from 0; -1 outside of images and for hidden tokens.
        owner: (B, T) int64, the same, but a hidden token belongs to the last block of its image: so
            text goes on behind the block, not behind the ids of what was taken away.
        row, column: (B, T) int64, place in the block's grid; a newline token has the place of the
            last token of its row. 0 where `number` is -1.
        height, width: (B, T) int64, size of the block's grid; 1 where `number` is -1.
        most: C.
    """

    number: torch.Tensor
    owner: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor
    most: int

    @property
    def inside(self) -> torch.Tensor:
        """(B, T) bool: tokens of an image that are not hidden."""
        return self.number >= 0

    @property
    def ring(self) -> torch.Tensor:
        """(B, T) int64: 0 on the rim of the grid, growing towards its centre."""
        return torch.minimum(*self.from_rim)

    @property
    def rings(self) -> torch.Tensor:
        """(B, T) int64: how many rings the grid has."""
        return (torch.minimum(self.height, self.width) + 1) // 2

    @property
    def from_rim(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T) int64 each: rows to the nearer of top and bottom, columns to that of the sides."""
        rows = torch.minimum(self.row, self.height - 1 - self.row)
        columns = torch.minimum(self.column, self.width - 1 - self.column)
        return rows, columns

    def per_block(self, values: torch.Tensor) -> torch.Tensor:
        """(B, C): the largest of non-negative values (B, T) in each block; 0 for missing ones."""
        slot = torch.where(self.inside, self.number, self.most)
        empty = values.new_zeros(values.shape[0], self.most + 1)
        return empty.scatter_reduce(1, slot, values, "amax")[:, : self.most]


def blocks_of(layout: Layout) -> Blocks:
    """Find the blocks of a layout, on the layout's device; found once for each layout.

    Raises:
        ModelError: if the grid of an image is not known.
    """
    if layout not in _FOUND:
        _FOUND[layout] = _blocks_of(layout)
    return _FOUND[layout]


# Positions and masks of many layers ask for the blocks of one layout.
_FOUND: weakref.WeakKeyDictionary[Layout, Blocks] = weakref.WeakKeyDictionary()


def _blocks_of(layout: Layout) -> Blocks:
    number = torch.full(layout.kind.shape, -1, dtype=torch.int64)
    owner = number.clone()
    row, column = torch.zeros_like(number), torch.zeros_like(number)
    height, width = torch.ones_like(number), torch.ones_like(number)
    alike: dict[tuple[int, ImageSpan], list[int]] = {}
    most = 0
    for b, spans in enumerate(layout.images):
        count = 0
        for span in spans:
            alike.setdefault((count, span), []).append(b)
            count += _count(span.tokens)
        most = max(most, count)
    for (first, span), rows in alike.items():
        where, here = torch.tensor(rows)[:, None], torch.arange(span.start, span.stop)
        table = _table(span.tokens)[:, : len(here)]
        number[where, here] = torch.where(table[0] >= 0, table[0] + first, -1)
        last = _count(span.tokens) - 1
        owned = torch.where(table[0] >= 0, table[0], last)
        owner[where, here] = torch.where(owned >= 0, owned + first, -1)
        for target, values in zip((row, column, height, width), table[1:], strict=True):
            target[where, here] = values
    device = layout.kind.device
    number, owner, row, column, height, width = (
        t.to(device) for t in (number, owner, row, column, height, width)
    )
    number = number.masked_fill(layout.kind == Kind.HIDDEN, -1)
    return Blocks(number, owner, row, column, height, width, most)


def check_known(tokens: ImageTokens) -> None:
    """Raise ModelError if the grid of an image is not known."""
    if tokens.height * tokens.width == 0 and tokens.loose > 1:
        raise ModelError(
            f"The grid of an image of {tokens.count} tokens is not known, and this intervention "
            "arranges grids. Pass everything that the processor returned, whole images at a time."
        )


def _count(tokens: ImageTokens) -> int:
    check_known(tokens)
    return (
        tokens.loose
        + (tokens.thumbnail[0] * tokens.thumbnail[1] > 0)
        + (tokens.height * tokens.width > 0)
    )


def _table(tokens: ImageTokens) -> torch.Tensor:
    """Block (-1 if hidden), row, column, height and width of each token of an image, (5, N)."""
    kind, row, column = tokens.table()
    block = torch.arange(len(kind)).clamp_max(tokens.loose)
    has_thumbnail = tokens.thumbnail[0] * tokens.thumbnail[1] > 0
    block = block + (((kind == Kind.PATCH) | (kind == Kind.NEWLINE)) & has_thumbnail)
    block = block.masked_fill(kind == Kind.HIDDEN, -1)
    thumbnail = kind == Kind.THUMBNAIL
    grid = (kind == Kind.PATCH) | (kind == Kind.NEWLINE)
    one = torch.ones_like(kind)
    height = torch.where(thumbnail, tokens.thumbnail[0], torch.where(grid, tokens.height, one))
    width = torch.where(thumbnail, tokens.thumbnail[1], torch.where(grid, tokens.width, one))
    column = torch.where(kind == Kind.NEWLINE, tokens.width - 1, column)
    return torch.stack([block, row.clamp_min(0), column.clamp_min(0), height, width])


def arrange(
    ids: torch.Tensor,
    number: torch.Tensor,
    most: int,
    offset: torch.Tensor,
    takes: torch.Tensor,
) -> torch.Tensor:
    """Give out new ids: each block begins where it did, less what blocks before it have saved.

    What a block takes up today is read from the ids themselves (last - first + 1), never from its
    number of tokens: 576 for a raster of 24 x 24, but 24 for the same grid under M-RoPE.

    Args:
        ids: (R, B, T), as they were.
        number: (B, T) int64, the block (`Blocks.owner`) or image of each token, from 0 without
            gaps in each row and in order; -1 elsewhere.
        most: C.
        offset: (R', B, T), the token's new id less the first id of its block; R' = 1 or more.
        takes: (B, C), how many ids a block shall take up: what follows it begins so far behind
            its first id.

    Returns:
        (max(R, R'), B, T): integer if `ids`, `offset` and `takes` are.
    """
    inside = number >= 0
    slot = torch.where(inside, number, most)
    first, last = bounds(ids, number, most)
    present = torch.zeros_like(inside[:, :1]).expand(-1, most + 1).scatter(1, slot, True)
    saved = (last - first + 1 - _padded(takes)) * present
    saved = saved[:, :most].cumsum(1)
    saved_by = torch.cat([torch.zeros_like(saved[:, :1]), saved], 1)
    anchor = (first - saved_by).gather(1, slot)
    # Blocks are numbered from 0 in each row, so the running maximum counts those begun.
    begun = (number + 1).cummax(1).values
    return torch.where(inside, anchor + offset, ids - saved_by.gather(1, begun))


def _padded(takes: torch.Tensor) -> torch.Tensor:
    return torch.cat([takes, torch.zeros_like(takes[:, :1])], 1)


def bounds(ids: torch.Tensor, number: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the largest id of each block, over all rotary rows.

    Args:
        ids, number, most: as for `arrange`.

    Returns:
        Two of (B, C + 1); the last column is that of all tokens outside. 0 for missing blocks.
    """
    slot = torch.where(number >= 0, number, most)
    empty = ids.new_zeros(ids.shape[1], most + 1)
    first = empty.scatter_reduce(1, slot, ids.amin(0), "amin", include_self=False)
    last = empty.scatter_reduce(1, slot, ids.amax(0), "amax", include_self=False)
    return first, last


def per_image(layout: Layout, value: Callable[[ImageSpan], int]) -> torch.Tensor:
    """(B, C) int64: a number for each image of each row, on the layout's device; 0 for missing."""
    table = [
        [value(span) for span in spans] + [0] * (layout.most_images - len(spans))
        for spans in layout.images
    ]
    made = torch.tensor(table, dtype=torch.int64).reshape(layout.batch, layout.most_images)
    return made.to(layout.kind.device)


def taken_from(layout: Layout, order: Callable[[int, ImageSpan], torch.Tensor]) -> torch.Tensor:
    """(B, T) int64: the column from which each token takes its id; its own outside of images.

    Args:
        layout: of the B rows and T columns.
        order: for the number of an image in its row and its span, which of the image's tokens each
            of its first M tokens takes after, (M,) int64 from 0; the others keep their own.
    """
    column = torch.arange(layout.length).repeat(layout.batch, 1)
    alike: dict[tuple[int, ImageSpan], list[int]] = {}
    for b, spans in enumerate(layout.images):
        for n, span in enumerate(spans):
            alike.setdefault((n, span), []).append(b)
    for (n, span), rows in alike.items():
        places = order(n, span)
        here = torch.arange(span.start, span.start + len(places))
        column[torch.tensor(rows)[:, None], here] = span.start + places
    return column.to(layout.kind.device)


def shown(span: ImageSpan) -> int:
    """How many tokens an image has so far that are not hidden; they are its first ones."""
    return min(span.stop - span.start, span.tokens.count - span.tokens.hidden)


def grids_of(layout: Layout) -> list[tuple[int, int]]:
    """Height and width of each grid of a layout, thumbnails too, each size once."""
    tokens = {span.tokens for spans in layout.images for span in spans}
    sizes = {size for t in tokens for size in ((t.height, t.width), t.thumbnail)}
    return sorted(size for size in sizes if size[0] * size[1] > 0)
