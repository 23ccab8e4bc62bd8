"""The mean over tests: by hand, drawn apart where independent and together where not."""

from __future__ import annotations

import numpy as np
import pytest

from wheresight.statistics.clustered import Clusters
from wheresight.statistics.macro import Test, mean_over_tests


def answers(seed: int, rows: int, rate: float, name: str) -> Test:
    right = (np.random.default_rng(seed).random((rows, 1)) < rate).astype(float)
    return Test(right, np.ones_like(right), [f"{name}{n}" for n in range(rows)])


def spread(drawn) -> float:
    return float(drawn.replicates.std(axis=0)[0])


def test_by_hand() -> None:
    first = Test(np.array([[1.0, 0], [1, 1]]), np.ones((2, 2)), ["a", "b"])
    # Guessing is right in one of two, then in one of four: (1 - 1/2 + 0 - 1/4) / (1/2 + 3/4).
    above, below = np.array([[0.5, -0.5], [-0.25, 0.75]]), np.array([[0.5, 0.5], [0.75, 0.75]])
    second = Test(above, below, ["c", "d"])
    found = mean_over_tests([first, second], replicates=100)
    assert found.value == pytest.approx([(1 + 0.25 / 1.25) / 2, (0.5 + 0.25 / 1.25) / 2])
    assert found.replicates.shape == (100, 2)


def test_one_test_is_itself_draw_by_draw() -> None:
    one = answers(0, 40, 0.6, "k")
    expected = Clusters(one.labels, replicates=300, seed=7).mean(one.above)
    found = mean_over_tests([one], replicates=300, seed=7)
    assert found.value == pytest.approx(expected.value)
    assert found.replicates == pytest.approx(expected.replicates)


def test_every_test_counts_alike_however_many_rows_it_has() -> None:
    few = Test(np.ones((2, 1)), np.ones((2, 1)), ["a", "b"])
    many = Test(np.zeros((98, 1)), np.ones((98, 1)), [f"c{n}" for n in range(98)])
    assert mean_over_tests([few, many], replicates=100).value == pytest.approx([0.5])


def test_independent_tests_add_up_their_variances() -> None:
    one, other = answers(1, 60, 0.5, "a"), answers(2, 90, 0.3, "b")
    single = [spread(mean_over_tests([t], replicates=4000, seed=3)) for t in (one, other)]
    both = spread(mean_over_tests([one, other], replicates=4000, seed=3))
    assert both == pytest.approx(np.hypot(*single) / 2, rel=0.06)


def test_the_same_pictures_are_no_second_evidence() -> None:
    one = answers(1, 60, 0.5, "a")
    twice = mean_over_tests([one, one], replicates=500, seed=3)
    assert spread(twice) > 0
    assert twice.value == pytest.approx([one.above.mean()])
    # Each replicate has the same clusters in both tests, so that the mean is as wide as one test.
    alone = mean_over_tests([one], replicates=4000, seed=3)
    again = mean_over_tests([one, one], replicates=4000, seed=3)
    assert spread(again) == pytest.approx(spread(alone), rel=0.06)
    apart = Test(one.above, one.below, [f"other {label}" for label in one.labels])
    assert spread(mean_over_tests([one, apart], replicates=4000, seed=3)) == pytest.approx(
        spread(alone) / np.sqrt(2), rel=0.06
    )


def test_a_chain_of_shared_pictures_is_one_group() -> None:
    a = Test(np.ones((2, 1)), np.ones((2, 1)), ["x", "y"])
    b = Test(np.zeros((2, 1)), np.ones((2, 1)), ["z", "w"])
    link = Test(np.eye(2)[:, :1], np.ones((2, 1)), ["y", "z"])
    found = mean_over_tests([a, b, link], replicates=200, seed=0)
    assert found.value == pytest.approx([0.5])
    # Drawn as one group of four pictures, some replicate leaves a whole test out.
    assert np.isnan(found.replicates).any()


def test_one_cluster_gives_a_value_without_replicates() -> None:
    lone = Test(np.ones((3, 1)), np.ones((3, 1)), ["a", "a", "a"])
    found = mean_over_tests([lone, answers(0, 20, 0.5, "k")], replicates=100)
    assert found.replicates.shape == (0, 1)
    assert np.isnan(found.interval()[0]).all()
