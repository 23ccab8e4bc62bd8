import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.statistics.bootstrap import ClusterBootstrap
from wheresight.statistics.measures import GridAnswers, QuestionAnswers


def grid(seed: int, items: int, cells: int, clusters: np.ndarray | None = None) -> GridAnswers:
    stream = np.random.default_rng(seed)

    def question(centre: float, asked: np.ndarray) -> QuestionAnswers:
        margins = stream.normal(centre, 1, (items, cells)).round(1)
        answers = np.where(stream.random((items, cells)) < 0.1, 2, margins > 0).astype(np.int8)
        answers[~asked], margins[~asked] = -1, np.nan
        return QuestionAnswers(answers, margins, asked)

    everyone = np.ones(items, bool)
    some = stream.random(items) < 0.6
    some[0] = True
    negatives = {"absent": question(-1.0, everyone), "sibling": question(-0.3, some)}
    if clusters is None:
        clusters = np.arange(items)
    return GridAnswers(question(1.0, everyone), negatives, clusters)


def repeated(answers: GridAnswers, weights: np.ndarray) -> GridAnswers:
    """The items written out as often as their cluster is drawn, each repeat its own cluster."""
    drawn = np.repeat(np.arange(len(weights)), weights)
    members = [np.flatnonzero(answers.clusters == cluster) for cluster in drawn]
    places = np.concatenate(members)
    clusters = np.repeat(np.arange(len(drawn)), [len(m) for m in members])

    def taken(q: QuestionAnswers) -> QuestionAnswers:
        return QuestionAnswers(q.answers[places], q.margins[places], q.asked[places])

    negatives = {kind: taken(q) for kind, q in answers.negatives.items()}
    return GridAnswers(taken(answers.positive), negatives, clusters)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(2, 5), st.booleans())
def test_a_weighting_is_a_table_with_repeated_rows(seed, items, cells, shared):
    """The one property all bootstrap replicates rest on, for every measure at once."""
    clusters = np.arange(items) % 3 if shared else None
    answers = grid(seed, items, cells, clusters)
    stream = np.random.default_rng(seed)
    weights = stream.multinomial(
        answers.cluster_count, np.ones(answers.cluster_count) / answers.cluster_count
    )
    if weights[answers.clusters[0]] == 0:
        weights[answers.clusters[0]] = 1
    if (weights > 0).sum() < 2:
        return
    weighted = answers.measure(weights[None].astype(np.float32))
    plain = repeated(answers, weights).measure()
    assert weighted.items == pytest.approx(plain.items)
    for name in plain.cells:
        expected = pytest.approx(plain.cells[name], rel=1e-5, abs=1e-7, nan_ok=True)
        assert weighted.cells[name] == expected, name
    for name in plain.overall:
        # Unequal numbers of negatives enter the balanced floor to first order only.
        if name in ("balanced_spread.noise_floor", "balanced_spread.delta_debiased"):
            continue
        expected = pytest.approx(plain.overall[name], rel=1e-5, abs=1e-6, nan_ok=True)
        assert weighted.overall[name] == expected, name


def test_balanced_floor_is_that_of_the_mean_of_both_answers():
    """Where every item asks one negative, its balanced value is the mean of its two answers."""
    answers = grid(1, 30, 4)
    answers = GridAnswers(
        answers.positive, {"absent": answers.negatives["absent"]}, answers.clusters
    )
    values = 50.0 * (answers.right("positive") + answers.right("absent").astype(float))
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    expected = (residual**2).sum() / (29 * 3) / 30
    measured = answers.measure().overall
    assert measured["balanced_spread.noise_floor"] == pytest.approx(expected)
    assert measured["balanced_spread.average"] == pytest.approx(values.mean())


def test_averages_over_cells():
    measured = grid(2, 20, 3).measure()
    for name in ("hit_rate", "d_prime", "auc", "balanced_accuracy"):
        assert measured.overall[name] == pytest.approx(measured.cells[name].mean(axis=1))
    assert measured.overall["d_prime_sd"] == pytest.approx(
        measured.cells["d_prime"].std(axis=1, ddof=1)
    )


def test_without_negatives_their_measures_are_nan():
    answers = grid(3, 10, 3)
    measured = GridAnswers(answers.positive, {}, answers.clusters).measure()
    for name in ("auc", "d_prime", "criterion", "false_alarm_rate", "balanced_accuracy"):
        assert np.isnan(measured.cells[name]).all(), name
    assert np.isnan(measured.overall["agreement.strict_accuracy"]).all()
    assert np.isfinite(measured.overall["spread.delta"]).all()
    assert not any(name.startswith("balanced_spread") for name in measured.overall)


def test_ten_thousand_items_take_seconds():
    """1,000 replicates take about 3 s on one core; 100 are timed, with room for a busy one."""
    answers = grid(4, 10_000, 9)
    start = time.process_time()
    for weights in ClusterBootstrap(10_000, 100, 0).draws():
        answers.measure(weights)
    assert time.process_time() - start < 5
