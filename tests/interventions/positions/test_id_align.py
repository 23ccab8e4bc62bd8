"""ID-Align by hand: the grid on the ids of its thumbnail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import ModelError
from wheresight.interventions.positions.id_align import IDAlign
from wheresight.lvlm.layout import ImageTokens

align = IDAlign().positions


def test_by_hand(prompts: Any) -> None:
    """A thumbnail of 2 x 2, a grid of 3 x 4 with newlines: rows 0 and 1 lie in its upper row."""
    ids, layout = prompts.one(1, ImageTokens(3, 4, thumbnail=(2, 2), newlines=True))
    upper, lower = [1, 1, 2, 2, 2], [3, 3, 4, 4, 4]
    want = [0, 1, 2, 3, 4, *upper, *upper, *lower, 5, 6]
    assert align(ids, layout, 0).tolist() == [[want]]


def test_a_grid_smaller_than_its_thumbnail(prompts: Any) -> None:
    """One row of two: cells (0, 0) and (0, 1) of 2 x 3; a class token in front."""
    ids, layout = prompts.one(1, ImageTokens(1, 2, thumbnail=(2, 3), loose=1), after=1)
    assert align(ids, layout, 0).tolist() == [[[0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 8]]]


def test_an_image_without_thumbnail_moves_as_a_whole(prompts: Any) -> None:
    pair = (ImageTokens(2, 2, thumbnail=(1, 1)), ImageTokens(2, 2))
    ids, layout = prompts.one(1, *pair, after=1)
    assert align(ids, layout, 0).tolist() == [[[0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7]]]
    alone, own = prompts.one(1, ImageTokens(4, 3, newlines=True))
    assert torch.equal(align(alone, own, 0), alone)


def test_hidden_tokens_take_up_no_ids(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(2, 2, thumbnail=(1, 2), hidden=4), after=1)
    new = align(ids, layout, 0)[0, 0]
    assert new[:7].tolist() == [0, 1, 2, 1, 2, 1, 2]
    assert new[-1] == 3


def test_unknown_grid(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(0, 0, loose=7))
    with pytest.raises(ModelError, match="grid of an image of 7 tokens is not known"):
        align(ids, layout, 0)


@settings(max_examples=50, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    small=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    newlines=st.booleans(),
    front=st.integers(0, 4),
)
def test_formula(
    prompts: Any, grid: tuple[int, int], small: tuple[int, int], newlines: bool, front: int
) -> None:
    tokens = ImageTokens(*grid, thumbnail=small, newlines=newlines)
    ids, layout = prompts.one(front, tokens, after=1)
    new = align(ids, layout, 0)[0, 0]
    size = small[0] * small[1]
    assert new[: front + size].tolist() == list(range(front + size))
    main = new[front + size : -1].reshape(grid[0], -1)
    for r in range(grid[0]):
        for c in range(grid[1]):
            cell = r * small[0] // grid[0] * small[1] + c * small[1] // grid[1]
            assert main[r, c] == front + cell
    if newlines:
        assert torch.equal(main[:, -1], main[:, -2])
    assert new[-1] == front + size
