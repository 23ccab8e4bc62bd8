"""Rearrange: each order written by hand, and nothing else touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import ModelError, SpecError
from wheresight.interventions.features.images import draws
from wheresight.interventions.features.rearrange import ORDERS, Rearrange
from wheresight.lvlm.layout import ImageSpan, ImageTokens, layout_of


def rearranged(spec: Rearrange, tokens: ImageTokens) -> list[int]:
    """Which token's content stands in each place."""
    x = torch.arange(float(tokens.count))[None, :, None]
    layout = layout_of(((ImageSpan(0, tokens.count, tokens),),), None, x[..., 0])
    return [int(v) for v in spec.features(x, layout, None)[0, :, 0]]  # type: ignore[arg-type]


def test_orders_without_a_draw_by_hand() -> None:
    grid = ImageTokens(2, 3)  # 0 1 2 / 3 4 5
    assert rearranged(Rearrange("reverse"), grid) == [5, 4, 3, 2, 1, 0]
    # Read by columns: 0 3, 1 4, 2 5; written by rows.
    assert rearranged(Rearrange("transpose"), grid) == [0, 3, 1, 4, 2, 5]
    square = rearranged(Rearrange("transpose"), ImageTokens(3, 3))
    assert square == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_rows_and_columns_by_hand() -> None:
    drawn = draws(5, 0, 6).tolist()
    row = [sorted(r, key=drawn.__getitem__) for r in ([0, 1, 2], [3, 4, 5])]
    assert rearranged(Rearrange("rows", seed=5), ImageTokens(2, 3)) == row[0] + row[1]
    column = [sorted(c, key=drawn.__getitem__) for c in ([0, 3], [1, 4], [2, 5])]
    expected = [column[c][r] for r in range(2) for c in range(3)]
    assert rearranged(Rearrange("columns", seed=5), ImageTokens(2, 3)) == expected


def test_blocks_trade_places_whole_and_the_rim_stays() -> None:
    tokens = ImageTokens(5, 4)
    found = rearranged(Rearrange("blocks", seed=1), tokens)
    drawn = draws(1, 0, 20).tolist()
    corners = [0, 2, 8, 10]
    of = sorted(corners, key=drawn.__getitem__)
    assert of != corners
    expected = list(range(20))
    for to, source in zip(corners, of, strict=True):
        for inside in (0, 1, 4, 5):
            expected[to + inside] = source + inside
    assert found == expected
    assert found[16:] == [16, 17, 18, 19]


def test_inside_blocks_also_at_the_rim() -> None:
    drawn = draws(2, 0, 9).tolist()
    blocks = [[0, 1, 3, 4], [2, 5], [6, 7], [8]]
    expected = [0] * 9
    for block in blocks:
        for to, source in zip(block, sorted(block, key=drawn.__getitem__), strict=True):
            expected[to] = source
    assert rearranged(Rearrange("inside", seed=2), ImageTokens(3, 3)) == expected != list(range(9))


def test_thumbnail_newlines_and_loose_tokens() -> None:
    # One loose token, a thumbnail at 1 and 2, rows (3, 4) and (6, 7), newlines at 5 and 8.
    tokens = ImageTokens(2, 2, (1, 2), True, 1)
    assert rearranged(Rearrange("reverse"), tokens) == [0, 2, 1, 7, 6, 5, 4, 3, 8]


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_each_row_alone_and_a_permutation(
    order: str,
    data: st.DataObject,
    batches: st.SearchStrategy[object],
    each_row_alone: Callable[[object, object], None],
    embedder: object,
) -> None:
    batch = data.draw(batches)
    method = Rearrange(order, seed=data.draw(st.integers(0, 9)), side=data.draw(st.integers(1, 4)))
    each_row_alone(method, batch)
    new = method.features(batch.embeddings, batch.layout, embedder)  # type: ignore[attr-defined]
    for b, spans in enumerate(batch.layout.images):  # type: ignore[attr-defined]
        for span in spans:
            here = slice(span.start, span.stop)
            was, now = batch.embeddings[b, here], new[b, here]  # type: ignore[attr-defined]
            assert torch.equal(was.sort(0).values, now.sort(0).values)


def test_what_it_refuses() -> None:
    with pytest.raises(SpecError, match="cannot be 'spiral': expected rows, columns"):
        Rearrange("spiral")
    with pytest.raises(SpecError, match="side of 'rearrange' cannot be 0"):
        Rearrange("blocks", side=0)
    with pytest.raises(ModelError, match="needs the grid of every image"):
        rearranged(Rearrange("reverse"), ImageTokens(0, 0, loose=4))
