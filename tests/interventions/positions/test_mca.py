"""MCA by hand: Manhattan steps from the corners as ids and as a mask."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.mca import MCA
from wheresight.lvlm.layout import ImageTokens

mca = MCA().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(3, 4))
    image = [2, 3, 3, 2, 3, 4, 4, 3, 2, 3, 3, 2]
    assert mca(ids, layout, 0).tolist() == [[[0, 1, *image, 5, 6]]]


def test_newlines_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(0, ImageTokens(3, 2, thumbnail=(1, 3), newlines=True), after=1)
    grid = [2, 2, 2, 3, 3, 3, 2, 2, 2]
    assert mca(ids, layout, 0).tolist() == [[[0, 1, 0, *grid, 4]]]


def test_under_m_rope_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(2, 3), after=1, m_rope=True)
    assert mca(ids, layout, 0)[:, 0].tolist() == [[0, 1, 2, 1, 1, 2, 1, 3]] * 3


def test_mask_by_hand(prompts: Any) -> None:
    """Text, 1 x 3, text: the ends see each other, the middle sees all three."""
    ids, layout = prompts.one(1, ImageTokens(1, 3), after=1)
    new = MCA().mask(prompts.causal(layout), layout, ids, 0)
    assert new.int().tolist() == [
        [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 1, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 0, 1, 0],
            [1, 1, 1, 1, 1],
        ]
    ]
    allowed = prompts.causal(layout)
    assert torch.equal(MCA(mask_=False).mask(allowed, layout, ids, 0), allowed)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), front=st.integers(0, 4))
def test_steps_of_any_grid(prompts: Any, height: int, width: int, front: int) -> None:
    ids, layout = prompts.one(front, ImageTokens(height, width), after=1)
    new = mca(ids, layout, 0)[0, 0] - front
    steps = [
        min(r, height - 1 - r) + min(c, width - 1 - c) for r in range(height) for c in range(width)
    ]
    assert new[front:-1].tolist() == steps
    assert new[-1] == max(steps) + 1
    if height == width and height % 2 == 0:
        assert new[-1] == height - 1


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_mask_goes_by_the_ids(prompts: Any, data: st.DataObject) -> None:
    ids, layout = prompts.written(data.draw(prompts.rows(2)))
    allowed = prompts.causal(layout)
    new = MCA().mask(allowed, layout, ids, 0)
    order = mca(ids, layout, 0)[0]
    same = (layout.image[:, :, None] == layout.image[:, None, :]) & (layout.image >= 0)[:, None]
    within = same & (layout.kind[:, :, None] == layout.kind[:, None, :])
    assert torch.equal(new[~same], allowed[~same])
    assert torch.equal(new[within], (order[:, None, :] <= order[:, :, None])[within])
