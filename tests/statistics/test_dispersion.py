import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from wheresight.statistics.dispersion import (
    accuracy_range,
    delta,
    noise_floor,
    probit_sd,
    spread_sd,
    worst,
)


def drawn(seed: int, items: int, cells: int) -> np.ndarray:
    """Answers in percent: items differ in how hard they are, cells do not."""
    stream = np.random.default_rng(seed)
    chance = stream.beta(2, 1, (items, 1))
    return 100.0 * (stream.random((items, cells)) < chance)


def test_delta_by_hand():
    assert delta(np.array([80.0, 90.0, 100.0])) == pytest.approx(100)
    assert delta(np.array([[50.0, 50.0], [0.0, 100.0]])) == pytest.approx([0, 5000])


def test_one_cell_has_no_spread():
    assert np.isnan(delta(np.array([80.0])))
    assert np.isnan(spread_sd(np.array([80.0])))
    assert np.isnan(noise_floor(np.ones((5, 1))))


def test_worst_and_range():
    cells = np.array([[10.0, 30.0], [5.0, 5.0]])
    assert worst(cells) == pytest.approx([10, 5])
    assert accuracy_range(cells) == pytest.approx([20, 0])


def test_probit_sd_by_hand():
    z = norm.ppf([10.5 / 21, 15.5 / 21])
    assert probit_sd(np.array([10.0, 15.0]), np.array(20.0)) == pytest.approx(z.std(ddof=1))


def test_floor_is_the_item_by_cell_mean_square_over_the_items():
    values = drawn(0, 40, 9)
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    mean_square = (residual**2).sum() / (39 * 8)
    assert noise_floor(values) == pytest.approx(mean_square / 40)


def test_floor_is_what_a_flat_model_shows():
    """Unbiased where items differ and cells do not; the independent-binomial floor is too high."""
    deltas, floors, binomial = [], [], []
    for seed in range(600):
        values = drawn(seed, 50, 9)
        deltas.append(delta(values.mean(axis=0)))
        floors.append(noise_floor(values)[0])
        p = values.mean() / 100
        binomial.append(1e4 * p * (1 - p) / 50)
    error = np.std(deltas) / np.sqrt(len(deltas))
    assert abs(np.mean(deltas) - np.mean(floors)) < 4 * error
    assert np.mean(binomial) > np.mean(deltas) + 8 * error


def test_items_that_keep_their_answer_make_no_noise():
    values = np.repeat(np.array([[0.0], [100.0], [100.0]]), 9, axis=1)
    assert noise_floor(values) == pytest.approx(0)


def test_floor_with_clusters_is_what_a_flat_model_shows():
    deltas, floors, naive = [], [], []
    for seed in range(400):
        values = np.repeat(drawn(seed, 30, 4), 3, axis=0)
        deltas.append(delta(values.mean(axis=0)))
        floors.append(noise_floor(values, np.repeat(np.arange(30), 3))[0])
        naive.append(noise_floor(values)[0])
    error = np.std(deltas) / np.sqrt(len(deltas))
    assert abs(np.mean(deltas) - np.mean(floors)) < 4 * error
    assert np.mean(naive) < np.mean(deltas) - 8 * error


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(2, 6))
def test_weights_count_a_cluster_again(seed, items, cells):
    """A weighting gives what the repeated items give, each repeat its own cluster."""
    values = drawn(seed, items, cells)
    weights = np.random.default_rng(seed).integers(0, 3, (1, items))
    if weights.sum() < 2:
        return
    repeated = np.repeat(values, weights[0], axis=0)
    assert noise_floor(values, None, weights) == pytest.approx(noise_floor(repeated), abs=1e-6)
