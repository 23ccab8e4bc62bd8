"""Fewer image tokens: each grid averaged down, the tokens left over taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import ImageTokens, Layout


@dataclass(frozen=True)
class Pool(Intervention):
    """Adaptive average pooling of each grid to side x side cells at most, as a shorter image.

    The compression test of "Beyond Semantics", arXiv 2503.17349, on projected tokens. The main
    grid and the thumbnail are pooled each alone; a row of pooled cells keeps the newline token of
    the last row in it; loose tokens stay. What is kept moves to the front of the image, the rest
    is hidden, and positions are those of a prompt with the smaller image in it: text moves up.
    So count, bandwidth and aggregation change together, as in the paper; `pool_broadcast` keeps
    the count.

    The released code pools square grids of one image. Its README calls the side a token count.

    Parameters:
        side: largest number of cells along each side of a grid, from 1. Grids that are no larger
            stay as they are, bit for bit.

    Raises:
        SpecError: side is out of range.
    """

    name: ClassVar[str] = "pool"
    example: ClassVar[str] = "side=2"
    paper: ClassVar[str] = "Beyond Semantics 2025, arXiv 2503.17349"
    whole_images: ClassVar[bool] = True
    moves_tokens: ClassVar[bool] = True

    side: int

    def __post_init__(self) -> None:
        whole_number(self.name, "side", self.side, 1, 1 << 20)

    def relayout(self, layout: Layout) -> Layout:
        """Return the layout with pooled images; the same object if no image is changed.

        Raises:
            ModelError: the grid of an image is not known, or an image is not whole.
        """
        from wheresight.interventions.features.images import complete
        from wheresight.interventions.features.pooling import pooled
        from wheresight.lvlm.layout import ImageSpan, Kind, layout_of

        images = tuple(
            tuple(ImageSpan(s.start, s.stop, pooled(s.tokens, self.side)) for s in spans)
            for spans in layout.images
        )
        if images == layout.images:
            return layout
        complete(self.name, layout)
        return layout_of(images, layout.kind != Kind.PAD, layout.kind)

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), kept tokens in front; hidden ones hold what they held.

        Raises:
            ModelError: the grid of an image is not known, or an image is not whole.
        """
        from wheresight.interventions.features.pooling import rewrite_pooled

        return rewrite_pooled(self.name, embeddings, layout, self.side, _kept)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T) in which a pooled image takes up what its kept tokens need.

        With one rotary row that is one id a token; with three, a row and a column from the id at
        which the image begins, and max(H, W) ids in all, block by block. Hidden tokens get the
        last ids of their image.

        Args:
            layout: after `relayout`.
        """
        import torch

        from wheresight.interventions.features.images import images_of
        from wheresight.interventions.geometry import arrange

        # Images that are as they were are only moved: they count as text.
        changed = [[span.tokens.hidden > 0 for span in spans] for spans in layout.images]
        most = max((sum(row) for row in changed), default=0)
        if most == 0:
            return ids
        grid = ids.shape[0] == 3
        number = torch.full_like(layout.image, -1)
        offset = ids.new_zeros(3 if grid else 1, *layout.image.shape)
        takes = ids.new_zeros(layout.batch, most)
        for n, span, rows in images_of(layout):
            if span.tokens.hidden == 0:
                continue
            # The same image may be the first changed one in this row, the second in that.
            slot = torch.tensor([sum(changed[row][:n]) for row in rows.tolist()]).to(rows)
            here = slice(span.start, span.stop)
            own, length = (_grid if grid else _line)(span.tokens)
            number[rows, here] = slot[:, None]
            offset[:, rows, here] = own[:, None, : span.stop - span.start].to(offset)
            takes[rows, slot] = length
        return arrange(ids, number, most, offset, takes)


def _kept(images: torch.Tensor, old: ImageTokens, new: ImageTokens) -> torch.Tensor:
    """The pooled images (K, M, D) of images (K, N, D)."""
    import torch

    from wheresight.interventions.features.pooling import average, pieces

    loose, thumbnail, main, newlines, closing, _ = pieces(images, old)
    thumbnail = average(thumbnail, *new.thumbnail)
    main = average(main, new.height, new.width)
    last = [
        ((row + 1) * old.height + new.height - 1) // new.height - 1 for row in range(new.height)
    ]
    main = torch.cat([main, newlines[:, last]], 2)
    return torch.cat([loose, thumbnail.flatten(1, 2), main.flatten(1, 2), closing], 1)


def _line(tokens: ImageTokens) -> tuple[torch.Tensor, int]:
    """Each token's id less that of the first, (1, N), and how many ids the image takes up."""
    import torch

    kept = tokens.count - tokens.hidden
    return torch.arange(tokens.count).clamp_max(kept - 1)[None], kept


def _grid(tokens: ImageTokens) -> tuple[torch.Tensor, int]:
    """The same under M-RoPE, (3, N): loose tokens, thumbnail, main grid, one after the other."""
    import torch

    from wheresight.lvlm.layout import Kind

    kind, row, column = tokens.table()
    thumbnail, main = (
        max(tokens.thumbnail),
        max(tokens.height, tokens.width + (tokens.newlines or tokens.closing)),
    )
    start = torch.arange(len(kind)).clamp_max(tokens.loose)
    start = start + thumbnail * ((kind != Kind.LOOSE) & (kind != Kind.THUMBNAIL))
    length = tokens.loose + thumbnail + main
    offset = start + torch.stack([torch.zeros_like(row), row.clamp_min(0), column.clamp_min(0)])
    return offset.where(kind != Kind.HIDDEN, length - 1), length
