"""Spatial reset by hand: rows and columns from 0 in every image."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.spatial_reset import SpatialReset
from wheresight.lvlm.layout import ImageTokens, Kind

reset = SpatialReset().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(3, ImageTokens(2, 3), ImageTokens(2, 1), after=1, m_rope=True)
    assert reset(ids, layout, 0)[:, 0].tolist() == [
        [0, 1, 2, *[3] * 6, 6, 7, 7, 9],
        [0, 1, 2, 0, 0, 0, 1, 1, 1, 6, 0, 1, 9],
        [0, 1, 2, 0, 1, 2, 0, 1, 2, 6, 0, 0, 9],
    ]


def test_rows_begin_where_they_begin(prompts: Any) -> None:
    """Padding counts for nothing, and a row that starts at 10 has its zero there."""
    rows = [(1, [(ImageTokens(1, 2), 1)]), (4, [(ImageTokens(1, 2), 1)])]
    ids, layout = prompts.written(rows, m_rope=True)
    new = reset((ids + 10).masked_fill(layout.kind == Kind.PAD, 0), layout, 0)
    assert new[:, 0, 3:].tolist() == [[10, 11, 11, 13], [10, 10, 10, 13], [10, 10, 11, 13]]
    assert new[2, 1].tolist() == [10, 11, 12, 13, 10, 11, 16]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_stock_with_another_corner(prompts: Any, data: st.DataObject) -> None:
    """t and all text are stock; an image's rows and columns are stock less its first id."""
    ids, layout = prompts.written(data.draw(prompts.rows(packed=False)), m_rope=True)
    new = reset(ids, layout, 0)
    image = layout.image >= 0
    assert torch.equal(new[0], ids[0])
    assert torch.equal(new[:, ~image], ids[:, ~image])
    assert torch.equal(new[1:, image], (ids[1:] - ids[:1])[:, image])
