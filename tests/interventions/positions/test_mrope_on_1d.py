"""M-RoPE on a line by hand: two rows of ids, and which pairs they turn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.positions.mrope_on_1d import MRoPEOn1D
from wheresight.lvlm.layout import ImageTokens

two = MRoPEOn1D().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(2, 3))
    assert two(ids, layout, 0)[:, 0].tolist() == [
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
    ]


def test_thumbnail_and_newlines_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(2, 2, thumbnail=(1, 2), newlines=True), after=1)
    assert two(ids, layout, 0)[:, 0].tolist() == [
        [0, 1, 1, 3, 3, 3, 4, 4, 4, 5],
        [0, 1, 2, 3, 4, 4, 3, 4, 4, 5],
    ]


def test_axes_by_hand() -> None:
    assert MRoPEOn1D().axes(6).tolist() == [0, 1, 0, 1, 0, 1]
    assert MRoPEOn1D(split="halves").axes(6).tolist() == [0, 0, 0, 1, 1, 1]
    assert MRoPEOn1D(split="halves").axes(5).tolist() == [0, 0, 0, 1, 1]
    assert MRoPEOn1D().axes(6).dtype == torch.int64


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_rows_of_stock_m_rope(prompts: Any, data: st.DataObject) -> None:
    """Plain grids: exactly the h and w that a model with M-RoPE would have made."""
    rows = data.draw(prompts.rows(packed=False))
    line, layout = prompts.written(rows)
    stock, _ = prompts.written(rows, m_rope=True)
    real = layout.kind != 0
    assert torch.equal(two(line, layout, 0)[:, real], stock[1:, real])


@pytest.mark.parametrize("split", ["both", "", 2])
def test_bad_splits(split: Any) -> None:
    with pytest.raises(SpecError, match="expected interleaved or halves"):
        MRoPEOn1D(split=split)
