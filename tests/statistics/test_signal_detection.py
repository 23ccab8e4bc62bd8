import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import mannwhitneyu, norm

from wheresight.statistics.signal_detection import (
    MarginRanking,
    auc,
    balanced_accuracy,
    corrected_rates,
    corrected_share,
    criterion,
    d_prime,
)

margins = hnp.arrays(
    np.float64, st.integers(1, 15), elements=st.integers(-4, 4).map(lambda n: n / 2)
)


def test_d_prime_and_criterion_by_hand():
    hits, false_alarms = corrected_rates(
        np.array([15.0]), np.array([19.0]), np.array([3.0]), np.array([19.0])
    )
    assert hits == pytest.approx(15.5 / 20)
    assert false_alarms == pytest.approx(3.5 / 20)
    z_hit, z_false_alarm = norm.ppf(15.5 / 20), norm.ppf(3.5 / 20)
    assert d_prime(hits, false_alarms) == pytest.approx(z_hit - z_false_alarm)
    assert criterion(hits, false_alarms) == pytest.approx(-(z_hit + z_false_alarm) / 2)


def test_corrected_share_is_never_certain():
    assert corrected_share(np.array([0.0, 9.0]), np.array(9.0)) == pytest.approx([0.05, 0.95])


@given(st.integers(1, 500), st.integers(1, 500), st.booleans())
def test_a_constant_answer_has_no_sensitivity_whatever_the_numbers(positives, negatives, yes):
    n, m = np.array(float(positives)), np.array(float(negatives))
    rates = corrected_rates(n * yes, n, m * yes, m)
    assert d_prime(*rates) == pytest.approx(0, abs=1e-9)
    assert (criterion(*rates) < 0) == yes


@given(st.integers(0, 40), st.integers(0, 40), st.integers(40, 60))
def test_swapping_yes_and_no_turns_the_criterion_only(hits, false_alarms, trials):
    n = np.array(float(trials))
    rates = corrected_rates(np.array(float(hits)), n, np.array(float(false_alarms)), n)
    turned = corrected_rates(n - hits, n, n - false_alarms, n)
    assert d_prime(*turned) == pytest.approx(-d_prime(*rates), abs=1e-9)
    assert criterion(*turned) == pytest.approx(-criterion(*rates), abs=1e-9)


def test_balanced_accuracy_takes_the_correct_rejection_rate():
    assert balanced_accuracy(np.array(1.0), np.array(0.0)) == 0.5
    assert balanced_accuracy(np.array(0.8), np.array(0.6)) == pytest.approx(0.7)


def test_auc_by_hand():
    # Pairs: (2, 1) won, (2, 2) tied, (0, 1) lost, (0, 2) lost.
    assert auc(np.array([2.0, 0.0]), np.array([1.0, 2.0])) == pytest.approx(1.5 / 4)


@given(margins, margins)
def test_auc_is_mann_whitney(positive, negative):
    expected = mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    assert auc(positive, negative) == pytest.approx(expected)
    assert auc(negative, positive) == pytest.approx(1 - expected)


@settings(max_examples=50)
@given(margins, margins, st.integers(0, 2**32 - 1))
def test_a_weighted_auc_is_that_of_repeated_items(positive, negative, seed):
    stream = np.random.default_rng(seed)
    of_positive = stream.integers(0, 3, (len(positive), 2))
    of_negative = stream.integers(0, 3, (len(negative), 2))
    ranking = MarginRanking(positive, negative)
    weighted = ranking.auc(of_positive.astype(np.float32), of_negative.astype(np.float32))
    for r in range(2):
        p, n = np.repeat(positive, of_positive[:, r]), np.repeat(negative, of_negative[:, r])
        if len(p) and len(n):
            assert weighted[r] == pytest.approx(auc(p, n), rel=1e-5)
        else:
            assert np.isnan(weighted[r])
