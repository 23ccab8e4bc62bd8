import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chi2

from wheresight.statistics.paired import holm, mcnemar


def pair(only_a: int, only_b: int, both: int = 5) -> tuple[np.ndarray, np.ndarray]:
    a = np.array([True] * only_a + [False] * only_b + [True] * both)
    b = np.array([False] * only_a + [True] * only_b + [True] * both)
    return a, b


@given(st.integers(0, 12), st.integers(0, 12))
def test_few_discordant_items_are_tested_exactly(only_a, only_b):
    test = mcnemar(*pair(only_a, only_b))
    assert (test.only_a_right, test.only_b_right) == (only_a, only_b)
    assert test.method == "exact binomial"
    n = only_a + only_b
    assert test.p == pytest.approx(binomtest(only_a, n).pvalue if n else 1.0)


def test_many_discordant_items_get_mid_p():
    test = mcnemar(*pair(30, 15))
    assert test.method == "mid-p binomial"
    exact = binomtest(30, 45).pvalue
    assert test.p == pytest.approx(exact - binom.pmf(15, 45, 0.5))
    assert mcnemar(*pair(20, 20)).p == pytest.approx(1, abs=1e-9)
    assert mcnemar(*pair(15, 30)).p == pytest.approx(test.p)


def test_clusters_are_tested_by_their_sums():
    a, b = pair(6, 2, both=0)
    clusters = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    # Sums of the clusters: 3, 2, 1 - 1 = 0, -1. (4)^2 / (9 + 4 + 0 + 1).
    test = mcnemar(a, b, clusters)
    assert test.method == "clustered chi-squared"
    assert test.p == pytest.approx(chi2.sf(16 / 14, 1))
    assert mcnemar(a, b, np.arange(8)).method == "exact binomial"
    assert mcnemar(a, a, clusters).p == 1


def test_items_that_repeat_each_other_are_no_evidence():
    a, b = pair(8, 2, both=10)
    once = mcnemar(a, b)
    repeated = mcnemar(np.tile(a, 20), np.tile(b, 20), np.tile(np.arange(20), 20))
    assert mcnemar(np.tile(a, 20), np.tile(b, 20)).p < 1e-9
    assert repeated.p == pytest.approx(chi2.sf(36 / 10, 1))
    assert abs(repeated.p - once.p) < 0.06


def test_holm_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03, 0.005])) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert holm(np.array([])).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values):
    p = np.array(p_values)
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, p * len(p)) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
