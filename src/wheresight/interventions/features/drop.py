"""Some tokens of an image taken away, the others left where they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import number_in, whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class Drop(Intervention):
    """A random fraction of an image's tokens is hidden; the kept ones keep place and position.

    Of N tokens floor(fraction N + 1/2) are hidden, and at least one is kept; newline, thumbnail
    and loose tokens count like others. Which ones follows from the seed, the image's number in its
    row and N alone. With the same seed, a larger fraction hides what a smaller one hides, and
    more.

    Parameters:
        fraction: from 0 to below 1; 0 changes nothing.
        seed: from 0.

    Raises:
        SpecError: a parameter is out of range.
    """

    name: ClassVar[str] = "drop"
    example: ClassVar[str] = "fraction=0.5"
    whole_images: ClassVar[bool] = True

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        number_in(self.name, "fraction", self.fraction, 0, 1, below=True)
        whole_number(self.name, "seed", self.seed, 0, (1 << 63) - 1)

    def idle(self) -> bool:
        """True at fraction 0."""
        return self.fraction == 0

    def relayout(self, layout: Layout) -> Layout:
        """Return the layout with the chosen tokens of kind HIDDEN, without row and column."""
        import torch

        from wheresight.interventions.features.images import draws, images_of, shown
        from wheresight.lvlm.layout import Kind, Layout

        if self.idle():
            return layout
        hidden = layout.kind == Kind.HIDDEN
        for number, span, rows in images_of(layout):
            seen = shown(layout, span, rows)
            drawn = draws(self.seed, number, span.tokens.count).to(seen.device)
            drawn = drawn[: seen.shape[1]].expand_as(seen)
            # The smallest go; those that are hidden already do not count.
            last = torch.iinfo(torch.int64).max
            rank = drawn.where(seen, last).argsort(dim=1, stable=True).argsort(dim=1)
            gone = [self._gone(count) for count in seen.sum(1).tolist()]
            hidden[rows, span.start : span.stop] = ~seen | (rank < rank.new_tensor(gone)[:, None])
        return Layout(
            kind=layout.kind.masked_fill(hidden, Kind.HIDDEN),
            image=layout.image,
            row=layout.row.masked_fill(hidden, -1),
            column=layout.column.masked_fill(hidden, -1),
            images=layout.images,
        )

    def _gone(self, count: int) -> int:
        return min(math.floor(self.fraction * count + 0.5), count - 1)

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings as they are: hidden tokens are not seen, whatever they hold."""
        return embeddings
