"""V2PE by hand, its order, and spans that are none."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.positions.v2pe import V2PE
from wheresight.lvlm.layout import ImageTokens


def test_by_hand(prompts: Any) -> None:
    """Two text tokens, four of an image that shares a span of one, two of text."""
    ids, layout = prompts.one(2, ImageTokens(2, 2))
    new = V2PE().positions(ids, layout, 0)
    assert new.tolist() == [[[0, 1, 1.25, 1.5, 1.75, 2, 3, 4]]]
    three = V2PE(span=3).positions(ids, layout, 0)
    assert three.tolist() == [[[0, 1, 1.75, 2.5, 3.25, 4, 5, 6]]]
    fraction = V2PE(span=1.5).positions(ids, layout, 0)
    assert fraction.tolist() == [[[0, 1, 1.375, 1.75, 2.125, 2.5, 4, 5]]]


def test_two_images_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(1, 2), ImageTokens(1, 4), after=1)
    new = V2PE().positions(ids, layout, 0)
    assert new.tolist() == [[[0, 0.5, 1, 2, 2.25, 2.5, 2.75, 3, 4]]]


def test_a_token_an_id_is_the_model_as_it_is(prompts: Any) -> None:
    """With s = N nothing changes: 256 ids for the 256 tokens of a tile."""
    ids, layout = prompts.one(3, ImageTokens(16, 16))
    assert torch.equal(V2PE(span=256).positions(ids, layout, 0), ids.float())


def test_under_m_rope_the_rows_are_equal(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(2, 2), m_rope=True)
    new = V2PE().positions(ids, layout, 0)
    assert new[:, 0].tolist() == [[0, 1, 1.25, 1.5, 1.75, 2, 3, 4]] * 3


def test_hidden_tokens_take_no_step(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(1, 2, hidden=3), after=1)
    assert V2PE().positions(ids, layout, 0).tolist() == [[[0, 0.5, 1, 1, 1, 1, 2]]]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), span=st.floats(0.5, 64))
def test_order_and_steps(prompts: Any, data: st.DataObject, span: float) -> None:
    """Proximity without equality: steps of span / N after the token in front, no grid needed."""
    ids, layout = prompts.written(data.draw(prompts.rows(grids=False)))
    new = V2PE(span=span).positions(ids, layout, 0)
    for b, spans in enumerate(layout.images):
        for image in spans:
            count = image.tokens.count
            own = new[0, b, image.start : image.stop]
            assert (own.diff() > 0).all()
            torch.testing.assert_close(
                own.diff(), torch.full((count - 1,), span / count), rtol=1e-2, atol=1e-5
            )
            if image.start > 0 and layout.kind[b, image.start - 1] in (1, 2):
                assert float(own[0] - new[0, b, image.start - 1]) == pytest.approx(
                    span / count, abs=1e-4
                )
                assert float(own[-1] - new[0, b, image.start - 1]) == pytest.approx(span, abs=1e-3)


@pytest.mark.parametrize("span", [0, -1, math.nan, math.inf, 2.0**21, True, "1"])
def test_bad_spans(span: Any) -> None:
    with pytest.raises(SpecError, match="The parameter span of 'v2pe' cannot be"):
        V2PE(span=span)
