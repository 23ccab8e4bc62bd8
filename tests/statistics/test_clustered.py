"""Means, ratios and differences by cluster, against the plain bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from wheresight.statistics.bootstrap import ClusterBootstrap, interval
from wheresight.statistics.clustered import Clusters, Drawn

LABELS = ["b", "a", "b", "c", "c", "d"]
VALUES = np.array([1.0, 4.0, 2.0, 8.0, np.nan, 0.5])


def test_a_mean_is_that_of_whole_clusters_drawn_again() -> None:
    clusters = Clusters(LABELS, replicates=50, seed=3)
    found = clusters.mean(VALUES)
    assert found.value == np.nanmean(VALUES)
    members = {"a": [1], "b": [0, 2], "c": [3, 4], "d": [5]}
    expected = []
    for weights in np.concatenate(list(ClusterBootstrap(4, 50, 3).draws())):
        rows = [
            row for name, w in zip("abcd", weights, strict=True) for row in members[name] * int(w)
        ]
        expected.append(np.nanmean(VALUES[rows]))
    np.testing.assert_allclose(found.replicates, expected)
    low, high = interval(found.value, np.array(expected))
    assert found.numbers() == {"value": 3.1, "low": float(low), "high": float(high)}


def test_ratios_and_functions_of_weights() -> None:
    clusters = Clusters(LABELS, replicates=30)
    pair = np.stack([np.arange(6.0), np.ones(6)], axis=1)
    ratio = clusters.of_sums(pair, lambda s: s[:, 0] / s[:, 1])
    np.testing.assert_allclose(ratio.replicates, clusters.mean(np.arange(6.0)).replicates)
    sizes = np.bincount(clusters.clusters)
    assert sizes.tolist() == [1, 2, 2, 1]
    rows = clusters.of_weights(lambda w: w @ sizes)
    assert rows.value == 6
    assert rows.replicates.shape == (30,)


def test_differences_are_paired() -> None:
    clusters = Clusters(LABELS, replicates=200)
    values = np.arange(6.0) ** 2
    shifted = clusters.mean(values + 1) - clusters.mean(values)
    assert shifted.numbers() == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})


def test_several_at_once_and_one_cluster() -> None:
    clusters = Clusters(LABELS, replicates=20)
    two = clusters.mean(np.stack([VALUES, 2 * VALUES], axis=1))
    np.testing.assert_allclose(two.at(1).replicates, 2 * two.at(0).replicates)
    doubled = two.at(0).map(lambda x: 2 * x)
    np.testing.assert_allclose(doubled.replicates, two.at(1).replicates)
    lone = Clusters(["a", "a"], replicates=20).mean(np.array([1.0, 3.0]))
    assert isinstance(lone, Drawn)
    assert lone.value == 2
    assert np.isnan(lone.interval()[0])
    assert np.isnan(lone.interval()[1])
