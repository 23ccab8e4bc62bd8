"""Where the system, image and text tokens of a prompt are.

Legend: B batch, T tokens (columns, left or right padding included), N tokens of one image,
H x W the grid of its main image tokens.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum

import torch


class Kind(IntEnum):
    """What a token is. SYSTEM is all text before a row's first image; a row without one is TEXT."""

    PAD = 0
    SYSTEM = 1
    TEXT = 2
    PATCH = 3  # of the image's main H x W grid
    THUMBNAIL = 4  # of a second, smaller view of the whole image
    NEWLINE = 5  # closes a row of the main grid; its column is W
    LOOSE = 6  # of an image, at a place in it that is not known (or none: a class token)
    HIDDEN = 7  # of an image, taken away by an intervention: no token may attend to it


@dataclass(frozen=True)
class ImageTokens:
    """What the N tokens of one image are: loose ones, the thumbnail, the main grid, hidden ones.

    Attributes:
        height, width: H and W of the main grid, row-major; 0 x 0 if it is not known.
        thumbnail: height and width of the thumbnail's grid, row-major; (0, 0) if there is none.
        newlines: True if each row of the main grid ends with a newline token.
        closing: True if one newline stands behind the last row of the main grid instead.
        loose: tokens in front of all these that have no place in a grid.
        hidden: tokens behind all these that an intervention has taken away.
    """

    height: int
    width: int
    thumbnail: tuple[int, int] = (0, 0)
    newlines: bool = False
    loose: int = 0
    hidden: int = 0
    closing: bool = False

    @property
    def count(self) -> int:
        """N, the number of placeholder tokens the image takes."""
        main = self.height * (self.width + self.newlines) + self.closing
        return self.loose + self.thumbnail[0] * self.thumbnail[1] + main + self.hidden

    def table(self) -> torch.Tensor:
        """Kind, row and column of each token, (3, N) int64; row and column are -1 for LOOSE
        and HIDDEN."""
        return _table(self)


@functools.lru_cache(maxsize=256)
def _table(tokens: ImageTokens) -> torch.Tensor:
    # Kept outside of inference mode, so that a later training step may use it.
    with torch.inference_mode(False):
        loose = torch.tensor([[Kind.LOOSE], [-1], [-1]]).expand(3, tokens.loose)
        thumbnail = _grid(Kind.THUMBNAIL, *tokens.thumbnail)
        main = _grid(Kind.PATCH, tokens.height, tokens.width + tokens.newlines)
        if tokens.newlines:
            main[0, main[2] == tokens.width] = Kind.NEWLINE
        closing = torch.tensor([[Kind.NEWLINE], [tokens.height - 1], [tokens.width]])
        closing = closing[:, : int(tokens.closing)]
        hidden = torch.tensor([[Kind.HIDDEN], [-1], [-1]]).expand(3, tokens.hidden)
        return torch.cat([loose, thumbnail, main, closing, hidden], 1)


def _grid(kind: Kind, height: int, width: int) -> torch.Tensor:
    row = torch.arange(height).repeat_interleave(width)
    column = torch.arange(width).repeat(height)
    return torch.stack([torch.full_like(row, kind), row, column])


@dataclass(frozen=True)
class ImageSpan:
    """One image of one row: columns `start` to `stop` (excluded), and what they are.

    An image that a chunked prefill has cut has fewer columns so far than `tokens.count`.
    """

    start: int
    stop: int
    tokens: ImageTokens

    @property
    def complete(self) -> bool:
        """True if all of the image's tokens are there."""
        return self.stop - self.start == self.tokens.count


@dataclass(frozen=True, eq=False)
class Layout:
    """What every token of a batch is.

    Attributes:
        kind: (B, T) int64, values of Kind.
        image: (B, T) int64, which image of its row a token belongs to, from 0; -1 for none.
        row, column: (B, T) int64, its place in its grid (main or thumbnail); -1 for none.
        images: for each row, its images in order.
    """

    kind: torch.Tensor
    image: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    images: tuple[tuple[ImageSpan, ...], ...]

    @property
    def batch(self) -> int:
        """B."""
        return self.kind.shape[0]

    @property
    def length(self) -> int:
        """T."""
        return self.kind.shape[1]

    @functools.cached_property
    def most_images(self) -> int:
        """The largest number of images in a row; 0 if the batch is text only."""
        return max((len(spans) for spans in self.images), default=0)

    @property
    def ends_in_image(self) -> bool:
        """True if the last column of some row belongs to an image."""
        return any(spans and spans[-1].stop == self.length for spans in self.images)

    @property
    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.kind, self.image, self.row, self.column

    def of(self, *kinds: Kind) -> torch.Tensor:
        """(B, T) bool: which tokens are of one of these kinds."""
        return torch.isin(self.kind, torch.tensor(kinds, device=self.kind.device))

    def to(self, device: torch.device) -> Layout:
        """The layout with its tensors on this device; itself if they are."""
        if self.kind.device == device:
            return self
        kind, image, row, column = (t.to(device) for t in self._tensors)
        return Layout(kind, image, row, column, self.images)

    def take(self, rows: torch.Tensor) -> Layout:
        """The layout of a batch made of these rows of this one, in this order, repeats allowed."""
        rows = rows.to(self.kind.device)
        kind, image, row, column = (t[rows] for t in self._tensors)
        return Layout(kind, image, row, column, tuple(self.images[i] for i in rows.tolist()))

    def extended(self, columns: int) -> Layout:
        """The layout with this many columns of text added on the right."""
        if columns == 0:
            return self
        kind = self.kind.new_full((self.batch, columns), Kind.TEXT)
        none = torch.full_like(kind, -1)
        return Layout(
            kind=torch.cat([self.kind, kind], 1),
            image=torch.cat([self.image, none], 1),
            row=torch.cat([self.row, none], 1),
            column=torch.cat([self.column, none], 1),
            images=self.images,
        )

    def from_column(self, start: int) -> Layout:
        """The layout of the columns from `start` on; an image across the edge loses its beginning.

        Spans are counted from `start`; one that has lost its beginning starts below 0.
        """
        if start == 0:
            return self
        kind, image, row, column = (t[:, start:] for t in self._tensors)
        images = tuple(
            tuple(
                ImageSpan(s.start - start, s.stop - start, s.tokens)
                for s in spans
                if s.stop > start
            )
            for spans in self.images
        )
        return Layout(kind, image, row, column, images)

    def cut(self, length: int) -> Layout:
        """The layout of the first `length` columns; an image across the edge is cut too."""
        if length >= self.length:
            return self
        kind, image, row, column = (t[:, :length] for t in self._tensors)
        images = tuple(
            tuple(
                ImageSpan(s.start, min(s.stop, length), s.tokens) for s in spans if s.start < length
            )
            for spans in self.images
        )
        return Layout(kind, image, row, column, images)


def layout_of(
    images: tuple[tuple[ImageSpan, ...], ...], real: torch.Tensor | None, like: torch.Tensor
) -> Layout:
    """Make the layout of a batch from the images of each row.

    Args:
        images: for each of the B rows, its images in order.
        real: (B, T), nonzero where a token is not padding; None if there is none.
        like: (B, T), any tensor: gives the shape and the device.
    """
    rows, length = like.shape
    first = torch.tensor([spans[0].start if spans else 0 for spans in images])
    before = torch.arange(length)[None] < first[:, None]
    kind = torch.full((rows, length), Kind.TEXT, dtype=torch.int64).masked_fill(before, Kind.SYSTEM)
    image, row, column = (torch.full_like(kind, -1) for _ in range(3))
    # Rows of a batch often have their images in the same columns; those are written together.
    alike: dict[tuple[int, ImageSpan], list[int]] = {}
    for b, spans in enumerate(images):
        for n, span in enumerate(spans):
            alike.setdefault((n, span), []).append(b)
    for (n, span), where in alike.items():
        chosen, here = torch.tensor(where)[:, None], torch.arange(span.start, span.stop)
        table = span.tokens.table()[:, : len(here)]
        kind[chosen, here], row[chosen, here], column[chosen, here] = table
        image[chosen, here] = n
    kind, image, row, column = (t.to(like.device) for t in (kind, image, row, column))
    if real is not None:
        kind = kind.masked_fill((real == 0) & (image < 0), Kind.PAD)
    return Layout(kind, image, row, column, images)
