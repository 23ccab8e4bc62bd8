"""Pool and PoolBroadcast by hand, against torch's pooling, and against shorter prompts."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import adaptive_avg_pool2d

from wheresight.errors import ModelError, SpecError
from wheresight.interventions.base import Intervention
from wheresight.interventions.features.drop import Drop
from wheresight.interventions.features.pool import Pool
from wheresight.interventions.features.pool_broadcast import PoolBroadcast
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, layout_of

# One loose token, a thumbnail of 1 x 3, a main grid of 2 x 3 with newlines.
FULL = ImageTokens(2, 3, (1, 3), newlines=True, loose=1)
VALUES = [50, 3, 6, 9, 1, 2, 3, 70, 5, 6, 7, 80]
P, Th, N, L, X = Kind.PATCH, Kind.THUMBNAIL, Kind.NEWLINE, Kind.LOOSE, Kind.HIDDEN


def one(tokens: ImageTokens, values: list[float]) -> tuple[torch.Tensor, object]:
    """A text token, an image whose tokens have one channel, two text tokens."""
    x = torch.tensor([[-1, *values, -2, -3]], dtype=torch.float)[..., None]
    span = ImageSpan(1, 1 + tokens.count, tokens)
    return x, layout_of(((span,),), None, x[..., 0])


def test_pool_by_hand(embedder: object) -> None:
    """Columns 0-1 and 1-2 share the middle; each row keeps its newline; six tokens are left over.

    With side 1 the newline is that of the last row.
    """
    x, layout = one(FULL, VALUES)
    new = Pool(2).features(x, layout, embedder)[0, :, 0]
    assert new[:10].tolist() == [-1, 50, 4.5, 7.5, 1.5, 2.5, 70, 5.5, 6.5, 80]
    after = Pool(2).relayout(layout)
    assert after.kind[0].tolist() == [1, L, Th, Th, P, P, N, P, P, N, X, X, X, 2, 2]
    assert after.row[0].tolist() == [-1, -1, 0, 0, 0, 0, 0, 1, 1, 1, -1, -1, -1, -1, -1]
    assert after.column[0].tolist() == [-1, -1, 0, 1, 0, 1, 2, 0, 1, 2, -1, -1, -1, -1, -1]
    assert after.image[0].tolist() == [-1, *[0] * 12, -1, -1]
    new = Pool(1).features(x, layout, embedder)[0, :, 0]
    assert new[:5].tolist() == [-1, 50, 6, 4, 80]
    after = Pool(1).relayout(layout)
    assert after.kind[0].tolist() == [1, L, Th, P, N, *[X] * 8, 2, 2]


def test_pool_positions_by_hand() -> None:
    _, layout = one(FULL, VALUES)
    after = Pool(2).relayout(layout)
    new = Pool(2).positions(torch.arange(15)[None, None], after, 0)
    assert new.tolist() == [[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 10, 11]]]
    # M-RoPE: a 4 x 4 grid from id 1 becomes 2 x 2, and text goes on at 3 where it did at 5.
    _, layout = one(ImageTokens(4, 4), [0] * 16)
    after = Pool(2).relayout(layout)
    r, c = torch.arange(4).repeat_interleave(4), torch.arange(4).repeat(4)
    grid = torch.stack([torch.zeros_like(r), r, c]) + 1
    ends = torch.tensor([[0], [5], [6]])
    ids = torch.cat([ends[:1].T.expand(3, 1), grid, ends[1:].T.expand(3, 2)], 1)[:, None]
    new = Pool(2).positions(ids, after, 0)
    assert new[:, 0, :5].tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 2, 2], [0, 1, 2, 1, 2]]
    assert new[:, 0, 17:].tolist() == [[3, 4]] * 3
    assert new[:, 0, 5:17].unique().tolist() == [2]


def test_broadcast_by_hand(embedder: object) -> None:
    """Two cells over three columns: floor(c 2 / 3) is 0, 0, 1."""
    x, layout = one(FULL, VALUES)
    new = PoolBroadcast(2).features(x, layout, embedder)[0, :, 0]
    want = [50, 4.5, 4.5, 7.5, 1.5, 1.5, 2.5, 70, 5.5, 5.5, 6.5, 80]
    assert new.tolist() == [-1, *want, -2, -3]
    new = PoolBroadcast(1).features(x, layout, embedder)[0, :, 0]
    assert new.tolist() == [-1, 50, 6, 6, 6, 4, 4, 4, 70, 4, 4, 4, 80, -2, -3]


def cells(grid: np.ndarray, side: int) -> np.ndarray:
    """Averages over bins, written out: (H, W, D) to (h, w, D)."""
    high, wide = (min(side, n) for n in grid.shape[:2])

    def bins(size: int, count: int) -> list[slice]:
        return [slice(floor(i * size / count), ceil((i + 1) * size / count)) for i in range(count)]

    rows, columns = bins(grid.shape[0], high), bins(grid.shape[1], wide)
    return np.array([[grid[r, c].mean((0, 1)) for c in columns] for r in rows])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12))
def test_against_torch_and_bins(
    batches: st.SearchStrategy, embedder: object, data: st.DataObject, side: int
) -> None:
    """Every grid of every image, in both methods."""
    batch = data.draw(batches)
    x, layout = batch.embeddings, batch.layout
    kept = Pool(side).features(x, layout, embedder)
    after = Pool(side).relayout(layout)
    coarse = PoolBroadcast(side).features(x, layout, embedder)
    for b, spans in enumerate(layout.images):
        for span in spans:
            t, here = span.tokens, slice(span.start, span.stop)
            for kind, (h, w) in ((Th, t.thumbnail), (P, (t.height, t.width))):
                if h * w == 0:
                    continue
                grid = x[b, here][layout.kind[b, here] == kind].view(h, w, -1)
                size = (min(side, h), min(side, w))
                want = adaptive_avg_pool2d(grid.permute(2, 0, 1).contiguous(), size).permute(
                    1, 2, 0
                )
                np.testing.assert_allclose(want, cells(grid.numpy(), side), atol=1e-5)
                got = kept[b, here][after.kind[b, here] == kind].view(*size, -1)
                assert torch.equal(got, want)
                spread = coarse[b, here][layout.kind[b, here] == kind].view(h, w, -1)
                for r in range(h):
                    for c in range(w):
                        cell = want[r * size[0] // h, c * size[1] // w]
                        assert torch.equal(spread[r, c], cell)
            for kind in (N, L):
                old = layout.kind[b, here] == kind
                assert torch.equal(coarse[b, here][old], x[b, here][old])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12), st.booleans())
def test_as_a_prompt_with_the_smaller_image(
    batches: st.SearchStrategy,
    write: Callable,
    data: st.DataObject,
    side: int,
    m_rope: bool,
) -> None:
    """Kinds, places and ids of what is kept are those of a prompt written with small images."""

    def small(t: ImageTokens) -> ImageTokens:
        high, wide = (min(side, n) for n in t.thumbnail)
        return ImageTokens(
            min(side, t.height), min(side, t.width), (high, wide), t.newlines, t.loose
        )

    batch = data.draw(batches)
    after = Pool(side).relayout(batch.layout)
    old = batch.grid if m_rope else batch.line
    new = Pool(side).positions(old, after, 0)
    assert (new.dtype, new.shape) == (old.dtype, old.shape)
    shorter = write([(front, [(small(t), n) for t, n in row]) for front, row in batch.rows])
    ids = shorter.grid if m_rope else shorter.line
    for b in range(len(batch.rows)):
        real = batch.real(b) & (after.kind[b] != Kind.HIDDEN)
        theirs = shorter.real(b)
        assert torch.equal(new[:, b, real], ids[:, b, theirs])
        for name in ("kind", "row", "column", "image"):
            assert torch.equal(
                getattr(after, name)[b, real], getattr(shorter.layout, name)[b, theirs]
            )
        # Hidden tokens are within the new range of their image.
        for number, spans in enumerate(after.images[b]):
            here = slice(spans.start, spans.stop)
            mine = new[:, b, here][:, after.kind[b, here] != Kind.HIDDEN]
            hidden = new[:, b, here][:, after.kind[b, here] == Kind.HIDDEN]
            assert after.images[b][number].tokens.count == spans.stop - spans.start
            if hidden.numel():
                assert mine.min() <= hidden.min() <= hidden.max() <= mine.max()


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12))
def test_rows_are_alone(
    batches: st.SearchStrategy, each_row_alone: Callable, data: st.DataObject, side: int
) -> None:
    batch = data.draw(batches)
    each_row_alone(PoolBroadcast(side), batch)
    # What hidden slots hold differs from nothing but what was there.
    each_row_alone(Pool(side), batch)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 3))
def test_nothing_where_grids_are_small(
    batches: st.SearchStrategy, embedder: object, data: st.DataObject, more: int
) -> None:
    batch = data.draw(batches)
    x, layout = batch.embeddings, batch.layout
    assert Pool(12 + more).relayout(layout) is layout
    assert Pool(12 + more).features(x, layout, embedder) is x
    assert Pool(12 + more).positions(batch.line, layout, 0) is batch.line
    assert PoolBroadcast(12 + more).features(x, layout, embedder) is x


def test_a_small_image_beside_a_large_one(write: Callable) -> None:
    """The small one keeps ids that are nobody's raster; text after both moves up."""
    batch = write([(1, [(ImageTokens(2, 2), 1), (ImageTokens(3, 3), 2)])])
    ids = torch.tensor([[[0, 1, 1, 1, 1, 2, *range(3, 12), 12, 13]]])
    new = Pool(2).positions(ids, Pool(2).relayout(batch.layout), 0)
    assert new.tolist() == [[[0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 7, 8]]]


def test_twice_is_once(write: Callable) -> None:
    """Ids that fit the pooled image already stay."""
    batch = write([(1, [(ImageTokens(5, 4, (3, 3), True), 3)])])
    after = Pool(2).relayout(batch.layout)
    for ids in (batch.line, batch.grid):
        once = Pool(2).positions(ids, after, 0)
        assert torch.equal(Pool(2).positions(once, after, 0), once)
    assert Pool(2).relayout(after) is after


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_averages_are_made_in_float32(dtype: torch.dtype, embedder: object) -> None:
    x, layout = one(ImageTokens(1, 3), [2048, 1, 1])
    new = Pool(1).features(x.to(dtype), layout, embedder)
    assert new.dtype == dtype
    assert new[0, 1, 0] == torch.tensor(2050 / 3).to(dtype)


@pytest.mark.parametrize("method", [Pool(1), PoolBroadcast(1)])
def test_images_that_cannot_be_pooled(
    method: Intervention, embedder: object, write: Callable
) -> None:
    x, layout = one(ImageTokens(0, 0, loose=4), [0] * 4)
    with pytest.raises(ModelError, match="grid of an image of 4 tokens is not known"):
        method.features(x, layout, embedder)
    x, layout = one(ImageTokens(2, 2), [0] * 4)
    with pytest.raises(ModelError, match="an image is cut in two"):
        method.features(x[:, :3], layout.cut(3), embedder)
    with pytest.raises(ModelError, match="were taken away before"):
        method.features(x, Drop(0.5).relayout(layout), embedder)


@pytest.mark.parametrize("method", [Pool, PoolBroadcast])
@pytest.mark.parametrize("side", [0, -1, 1.5, True, 1 << 30])
def test_bad_parameters(method: type, side: int) -> None:
    with pytest.raises(SpecError, match="cannot be .*: expected a whole number from 1"):
        method(side)
