"""The content of an image's tokens in a chosen other order, at the same positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import ModelError, SpecError
from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import ImageTokens, Layout

ORDERS = ("rows", "columns", "blocks", "inside", "reverse", "transpose")


@dataclass(frozen=True)
class Rearrange(Intervention):
    """Tokens of an image's grid trade places in part; positions and mask stay.

    Where `permute` gives every token a random place, this keeps some of the arrangement, so that
    what is lost with it can be told apart. The main grid and the thumbnail are rearranged each
    alone; newline and loose tokens stay. Draws follow from the seed, the image's number in its row
    and its number of tokens alone.

    Parameters:
        order: `rows`, tokens are permuted within each row, so that only the column is lost;
            `columns`, within each column;
            `blocks`, whole blocks of side x side tokens trade places, as far as they fit from the
            top left corner, so that what lies in a block stays together;
            `inside`, tokens are permuted within each block, so that only detail is lost;
            `reverse`, the last token comes first (a turn by 180 degrees);
            `transpose`, row-major order becomes column-major: the n-th token gets the content of
            the n-th when columns are counted first.
        seed: from 0; `reverse` and `transpose` do not draw.
        side: of `blocks` and `inside`, tokens, from 1.

    Raises:
        SpecError: a parameter is out of range.
    """

    name: ClassVar[str] = "rearrange"
    example: ClassVar[str] = "reverse"
    whole_images: ClassVar[bool] = True
    moves_tokens: ClassVar[bool] = True

    order: str = field(metadata={"bare": True})
    seed: int = 0
    side: int = 2

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise SpecError(
                f"The parameter order of 'rearrange' cannot be {self.order!r}: expected "
                f"{', '.join(ORDERS[:-1])} or {ORDERS[-1]}."
            )
        whole_number(self.name, "seed", self.seed, 0, (1 << 63) - 1)
        whole_number(self.name, "side", self.side, 1, 1 << 20)

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), tokens of each grid rearranged.

        Raises:
            ModelError: the grid of an image is not known, or an image is not whole.
        """
        from wheresight.interventions.features.images import complete, images_of

        complete(self.name, layout)
        out = embeddings.clone()
        for number, span, rows in images_of(layout):
            if span.tokens.height * span.tokens.width == 0:
                raise ModelError(
                    f"'{self}' needs the grid of every image, and that of one is not known for "
                    "this model. Use 'permute', which needs none."
                )
            source = self._source(number, span.tokens).to(embeddings.device)
            out[rows, span.start : span.stop] = embeddings[rows, span.start : span.stop][:, source]
        return out

    def _source(self, number: int, tokens: ImageTokens) -> torch.Tensor:
        """Which token's content each token gets, (N,) int64."""
        import torch

        from wheresight.interventions.features.images import draws
        from wheresight.lvlm.layout import Kind

        drawn = draws(self.seed, number, tokens.count)
        kind = tokens.table()[0]
        source = torch.arange(tokens.count)
        shapes = {Kind.THUMBNAIL: tokens.thumbnail, Kind.PATCH: (tokens.height, tokens.width)}
        for which, (height, width) in shapes.items():
            where = (kind == which).nonzero().flatten()
            if len(where):
                source[where] = where[self._grid(height, width, drawn[where])]
        return source

    def _grid(self, height: int, width: int, drawn: torch.Tensor) -> torch.Tensor:
        """The same within one grid, (H W,), row-major."""
        import torch

        place = torch.arange(height * width)
        row, column = place // width, place % width
        if self.order == "reverse":
            return place.flip(0)
        if self.order == "transpose":
            return place.view(height, width).T.flatten()
        if self.order == "rows":
            return _within(row, drawn)
        if self.order == "columns":
            return _within(column, drawn)
        across = -(-width // self.side)
        block = (row // self.side) * across + column // self.side
        if self.order == "inside":
            return _within(block, drawn)
        # Whole blocks alone trade places; each is drawn by its first token.
        down, right = height // self.side, width // self.side
        fits = (row < down * self.side) & (column < right * self.side)
        first = fits & (row % self.side == 0) & (column % self.side == 0)
        to = place[first]
        of = to[drawn[first].argsort(stable=True)]
        shift = torch.zeros(int(block.max()) + 1, dtype=place.dtype)
        shift[block[first]] = of - to
        return torch.where(fits, place + shift[block], place)


def _within(group: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """A permutation of places that stays within each group: sorted by group, then by draw."""
    to = group.argsort(stable=True)
    order = drawn.argsort(stable=True)
    of = order[group[order].argsort(stable=True)]
    source = to.new_empty(to.shape)
    source[to] = of
    return source
