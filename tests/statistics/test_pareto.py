"""The Pareto front, by hand: ties, equal points, and what intervals settle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.statistics.pareto import dominates, front, settled


def test_a_front_drawn_by_hand() -> None:
    #   up
    #   3 | a
    #   2 |     b   c        b and c are level: c is farther right
    #   1 |         d   e    d stands under c; e is farthest right
    #       1   2   3   4
    points = np.array([[1, 3], [2, 2], [3, 2], [3, 1], [4, 1]])
    assert front(points).tolist() == [True, False, True, False, True]
    found = dominates(points)
    pairs = {(p, q) for p in range(5) for q in range(5) if found[p, q]}
    assert pairs == {(2, 1), (2, 3), (4, 3)}


@pytest.mark.parametrize(
    ("points", "on"),
    [
        ([[5, 5]], [True]),
        ([[1, 1], [1, 1]], [True, True]),  # equal points do not beat each other
        ([[1, 1], [1, 1], [1, 2]], [False, False, True]),  # a tie on one axis, better on the other
        ([[2, 0], [0, 2], [0, 0]], [True, True, False]),
        ([[-1, -3], [-2, -2]], [True, True]),  # below guessing is a place like others
        ([[0, 0, 1], [0, 1, 0], [0, 0, 0]], [True, True, False]),  # three axes
    ],
)
def test_ties_and_edges(points: list[list[float]], on: list[bool]) -> None:
    assert front(np.array(points)).tolist() == on


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_it_is_what_the_definition_says(points: list[tuple[int, int]]) -> None:
    def beats(p: tuple[int, int], q: tuple[int, int]) -> bool:
        return p[0] >= q[0] and p[1] >= q[1] and p != q

    expected = [not any(beats(p, q) for p in points) for q in points]
    assert front(np.array(points)).tolist() == expected
    assert any(expected)


def low(points: np.ndarray, half_width: float) -> np.ndarray:
    """Lower ends, where every interval of a difference is so wide on each side."""
    return points[:, None] - points[None] - half_width


def test_narrow_intervals_settle_everything_and_wide_ones_nothing() -> None:
    points = np.array([[1.0, 3.0], [3.0, 1.0], [0.5, 0.5]])
    assert settled(points, low(points, 0.1)).all()
    assert not settled(points, low(points, 9.0)).any()
    # The third loses to the first by 2.5 up, but only by 0.5 across.
    assert settled(points, low(points, 0.6)).tolist() == [True, True, False]


def test_equal_points_settle_nothing_but_a_single_point_is_on_the_front() -> None:
    same = np.zeros((2, 2))
    assert settled(same, low(same, 0.0)).tolist() == [False, False]
    one = np.zeros((1, 2))
    assert settled(one, low(one, 1.0)).tolist() == [True]


def test_without_intervals_nothing_is_settled() -> None:
    points = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert not settled(points, np.full((2, 2, 2), np.nan)).any()


def test_off_the_front_by_two_others_together_is_not_settled() -> None:
    # One is surely better across, another surely up; neither is surely better on both.
    points = np.array([[2.0, 1.1], [1.1, 2.0], [1.0, 1.0]])
    assert front(points).tolist() == [True, True, False]
    assert settled(points, low(points, 0.5)).tolist() == [True, True, False]
