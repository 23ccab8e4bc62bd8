import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm

from wheresight.statistics.criterion import criterion_shift, explained_share, shifted_delta
from wheresight.statistics.dispersion import delta

shares = hnp.arrays(np.float64, 9, elements=st.floats(0.02, 0.98))


@given(shares, st.floats(0.02, 0.98))
def test_the_shift_reaches_the_target(cells, target):
    shift = criterion_shift(cells, np.array(target))
    assert norm.cdf(norm.ppf(cells) + shift).mean() == pytest.approx(target, abs=1e-9)


@given(shares, st.floats(-1.5, 1.5))
def test_a_shift_that_was_made_is_found_and_explains_all(cells, made):
    moved = norm.cdf(norm.ppf(cells) + made)
    shift, after = shifted_delta(cells, moved.mean())
    assert shift == pytest.approx(made, abs=1e-6)
    assert after == pytest.approx(delta(100 * moved), abs=1e-5)


def test_replicates_are_shifted_each_by_its_own():
    cells = np.array([[0.5, 0.7], [0.6, 0.6]])
    shift, after = shifted_delta(cells, np.array([0.6, 0.8]))
    assert shift == pytest.approx([0, norm.ppf(0.8) - norm.ppf(0.6)], abs=1e-9)
    assert after == pytest.approx([200, 0], abs=1e-9)


def test_cells_at_the_ends_can_be_shifted_and_no_shift_changes_nothing():
    cells, trials = np.array([1.0, 0.9, 0.0]), np.array(20)
    shift, after = shifted_delta(cells, cells.mean(), trials)
    assert shift == pytest.approx(0, abs=1e-9)
    assert after == pytest.approx(delta(100 * cells))
    shift, after = shifted_delta(cells, np.array(0.9), trials)
    assert shift > 0
    assert 0 < after < delta(100 * cells)


def test_explained_share():
    assert explained_share(np.array(8.0), np.array(2.0), np.array(5.0)) == pytest.approx(0.5)
    assert np.isnan(explained_share(np.array(8.0), np.array(8.0), np.array(5.0)))
