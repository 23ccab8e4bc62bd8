"""bapa_far by hand: the image on its last id, all text where it was."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.bapa_far import BaPAFar
from wheresight.lvlm.layout import ImageTokens

far = BaPAFar().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(2, 2), ImageTokens(1, 3), after=1)
    assert far(ids, layout, 0).tolist() == [[[0, 1, 5, 5, 5, 5, 6, 9, 9, 9, 10]]]


def test_under_m_rope_by_hand(prompts: Any) -> None:
    """A grid of 2 x 3 takes up three ids, not six."""
    ids, layout = prompts.one(2, ImageTokens(2, 3), after=2, m_rope=True)
    assert ids[:, 0, 2:8].tolist() == [[2] * 6, [2, 2, 2, 3, 3, 3], [2, 3, 4, 2, 3, 4]]
    assert far(ids, layout, 0)[:, 0].tolist() == [[0, 1, *[4] * 6, 5, 6]] * 3


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nothing_but_the_image_moves(prompts: Any, data: st.DataObject) -> None:
    """Equality without proximity: one id an image, on every row; grids need not be known."""
    m_rope = data.draw(st.booleans())
    rows = data.draw(prompts.rows(packed=not m_rope, grids=m_rope))
    ids, layout = prompts.written(rows, m_rope=m_rope, left=data.draw(st.booleans()))
    new = far(ids, layout, 0)
    outside = layout.image < 0
    assert torch.equal(new[:, outside], ids[:, outside])
    for b, spans in enumerate(layout.images):
        for span in spans:
            image = new[:, b, span.start : span.stop]
            assert (image == ids[:, b, span.start : span.stop].amax()).all()
