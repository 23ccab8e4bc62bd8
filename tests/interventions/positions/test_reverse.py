"""Reverse by hand, and that twice is not at all."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.reverse import Reverse
from wheresight.lvlm.layout import ImageTokens

reverse = Reverse().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(2, 2), ImageTokens(1, 3), after=1)
    assert reverse(ids, layout, 0).tolist() == [[[0, 1, 5, 4, 3, 2, 6, 9, 8, 7, 10]]]


def test_under_m_rope_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(2, 3), after=1, m_rope=True)
    assert reverse(ids, layout, 0)[:, 0].tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 4],
        [0, 2, 2, 2, 1, 1, 1, 4],
        [0, 3, 2, 1, 3, 2, 1, 4],
    ]


def test_hidden_tokens_keep_theirs(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(1, 3, hidden=2), after=1)
    assert reverse(ids, layout, 0).tolist() == [[[0, 3, 2, 1, 4, 5, 6]]]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_twice_is_not_at_all(prompts: Any, data: st.DataObject) -> None:
    m_rope = data.draw(st.booleans())
    rows = data.draw(prompts.rows(packed=not m_rope, grids=m_rope))
    ids, layout = prompts.written(rows, m_rope=m_rope)
    once = reverse(ids, layout, 0)
    assert torch.equal(reverse(once, layout, 0), ids)
    for b, spans in enumerate(layout.images):
        for span in spans:
            here = slice(span.start, span.stop)
            assert torch.equal(once[:, b, here], ids[:, b, here].flip(1))
