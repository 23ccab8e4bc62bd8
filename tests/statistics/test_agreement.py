import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chi2

from wheresight.statistics.agreement import (
    cochran_q,
    consistent,
    consistent_if_independent,
    flip_share,
    flip_share_if_independent,
    strictly_right,
)

answers = hnp.arrays(
    np.int8, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.integers(0, 2)
)


def test_by_hand():
    given_answers = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 2], [2, 2, 2]])
    assert consistent(given_answers).tolist() == [True, False, False, True]
    assert flip_share(given_answers) == pytest.approx([0, 2 / 3, 1, 0])
    assert strictly_right(given_answers == 1).tolist() == [True, False, False, False]


@given(answers)
def test_flips_are_the_pairs_that_differ(table):
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    expected = [np.mean([row[i] != row[j] for i, j in pairs]) for row in table]
    assert flip_share(table) == pytest.approx(expected)
    assert (consistent(table) == (flip_share(table) == 0)).all()


def test_expected_under_independence_by_hand():
    # Yes with 0.5 in one cell and 0.8 in the other, else No: alike with 0.4 + 0.1.
    shares = np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])
    assert consistent_if_independent(shares) == pytest.approx(0.5)
    assert flip_share_if_independent(shares) == pytest.approx(0.5)


@given(answers)
def test_expected_flips_are_the_mean_over_pairs(table):
    shares = np.stack([(table == kind).mean(axis=0) for kind in range(3)], axis=-1)
    pairs = itertools.combinations(range(table.shape[1]), 2)
    expected = np.mean([1 - (shares[i] * shares[j]).sum() for i, j in pairs])
    assert flip_share_if_independent(shares) == pytest.approx(expected)
    if table.shape[1] == 2:
        together = consistent_if_independent(shares)
        assert flip_share_if_independent(shares) == pytest.approx(1 - together)


def test_one_cell_has_no_pairs():
    assert np.isnan(flip_share(np.array([[1], [0]]))).all()
    assert np.isnan(flip_share_if_independent(np.array([[0.5, 0.5]])))


def test_cochran_q_by_hand():
    """Cells 3, 2, 1 of 4 right; items 3, 2, 1, 0. Q = 2 (3 x 14 - 36) / (18 - 14) = 3."""
    right = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    q = cochran_q(right)
    assert q.statistic == pytest.approx(3)
    assert (q.degrees_of_freedom, q.informative_items) == (2, 2)
    assert q.p == pytest.approx(chi2.sf(3, 2))


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(2, 6))))
def test_cochran_q_is_cells_variance_over_its_expectation(right):
    """Q by the other road: sum over cells of squared deviations, over the mean item variance."""
    q = cochran_q(right)
    of_item = right.mean(axis=1)
    scale = (of_item * (1 - of_item)).sum() * right.shape[1] / (right.shape[1] - 1)
    if scale == 0:
        assert q.statistic is None
        assert q.p is None
        return
    of_cell = right.sum(axis=0)
    assert q.statistic == pytest.approx(((of_cell - of_cell.mean()) ** 2).sum() / scale)


def test_items_alike_in_all_cells_change_no_q():
    right = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1]])
    padded = np.concatenate([right, np.ones((5, 3), int), np.zeros((4, 3), int)])
    assert cochran_q(right) == cochran_q(padded)


def test_two_cells_give_mcnemar():
    right = np.array([[1, 0]] * 9 + [[0, 1]] * 3 + [[1, 1]] * 4)
    assert cochran_q(right).statistic == pytest.approx((9 - 3) ** 2 / 12)


def test_undefined_q_has_no_p():
    for right in (np.ones((3, 4)), np.zeros((3, 4)), np.array([[1], [0]])):
        q = cochran_q(right)
        assert (q.statistic, q.degrees_of_freedom, q.p) == (None, None, None)
