"""CCA by hand: rings as ids, rings as a mask, for grids of any shape."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.cca import CCA
from wheresight.lvlm.layout import ImageTokens

cca = CCA().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(3, 4))
    image = [2, 2, 2, 2, 2, 3, 3, 2, 2, 2, 2, 2]
    assert cca(ids, layout, 0).tolist() == [[[0, 1, *image, 4, 5]]]


def test_odd_grid_by_hand(prompts: Any) -> None:
    """5 x 5 has ceil(5 / 2) = 3 rings; the released code knows even sides alone."""
    ids, layout = prompts.one(1, ImageTokens(5, 5), after=1)
    rings = [0] * 5 + [0, 1, 1, 1, 0] + [0, 1, 2, 1, 0] + [0, 1, 1, 1, 0] + [0] * 5
    assert cca(ids, layout, 0).tolist() == [[[0, *(1 + ring for ring in rings), 4]]]


def test_under_m_rope_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(3, 3), ImageTokens(1, 2), after=1, m_rope=True)
    want = [0, 1, 1, 1, 1, 2, 1, 1, 1, 1, 3, 4, 4, 5]
    assert cca(ids, layout, 0)[:, 0].tolist() == [want] * 3


def test_blocks_by_hand(prompts: Any) -> None:
    """A class token, a thumbnail of 1 x 2, a grid of 3 x 3 with newlines; then text."""
    tokens = ImageTokens(3, 3, thumbnail=(1, 2), newlines=True, loose=1)
    ids, layout = prompts.one(1, tokens, after=1)
    grid = [3, 3, 3, 3, 3, 4, 3, 3, 3, 3, 3, 3]
    assert cca(ids, layout, 0).tolist() == [[[0, 1, 2, 2, *grid, 5]]]


def test_mask_by_hand(prompts: Any) -> None:
    """Text, 3 x 3, text: the rim sees the rim, the centre sees all, text sees what it saw."""
    ids, layout = prompts.one(1, ImageTokens(3, 3), after=1)
    new = CCA().mask(prompts.causal(layout), layout, ids, 0)
    rim = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0]
    centre = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    assert new.int().tolist() == [
        [[1, *[0] * 10], rim, rim, rim, rim, centre, rim, rim, rim, rim, [1] * 11]
    ]


def test_without_its_mask(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(3, 3))
    allowed = prompts.causal(layout)
    assert torch.equal(CCA(mask_=False).mask(allowed, layout, ids, 0), allowed)
    assert CCA(mask_=False).acting() == ("positions",)
    assert CCA().acting() == ("positions", "mask")
    assert str(CCA(mask_=False)) == "cca:mask=false"


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), front=st.integers(0, 4))
def test_rings_of_any_grid(prompts: Any, height: int, width: int, front: int) -> None:
    ids, layout = prompts.one(front, ImageTokens(height, width), after=1)
    new = cca(ids, layout, 0)[0, 0] - front
    ring = [min(r, c, height - 1 - r, width - 1 - c) for r in range(height) for c in range(width)]
    assert new[front:-1].tolist() == ring
    assert new[-1] == (min(height, width) + 1) // 2 == max(ring) + 1


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_mask_of_any_batch(prompts: Any, data: st.DataObject) -> None:
    """In every row: by rings within a block, causal elsewhere; a chunk of queries is a part."""
    ids, layout = prompts.written(data.draw(prompts.rows(2)))
    allowed = prompts.causal(layout)
    new = CCA().mask(allowed, layout, ids, 0)
    order = cca(ids, layout, 0)[0]
    same_kind = layout.kind[:, :, None] == layout.kind[:, None, :]
    same = (layout.image[:, :, None] == layout.image[:, None, :]) & (layout.image >= 0)[:, None]
    assert torch.equal(new[~same], allowed[~same])
    # Within a kind of an image there is one block (there is at most one class token).
    ring = order[:, None, :] <= order[:, :, None]
    within = same & same_kind
    assert torch.equal(new[within], ring[within])
    tail = data.draw(st.integers(1, layout.length))
    part = CCA().mask(allowed[:, -tail:], layout, ids, 0)
    assert torch.equal(part, new[:, -tail:])
