"""Accuracies of choices, pairs, sets, and yes and no, by hand."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.statistics.choices import (
    by_category,
    chance_corrected,
    macro_accuracy,
    majority,
    share_numbers,
)
from wheresight.statistics.clustered import Clusters
from wheresight.statistics.sets import published_set_accuracy, set_accuracy
from wheresight.statistics.yes_no import YesNo, yes_no


def each(count: int, replicates: int = 200) -> Clusters:
    return Clusters([f"c{n}" for n in range(count)], replicates=replicates)


def test_accuracy_by_category_and_macro() -> None:
    right = np.array([1, 1, 1, 0, 0, 1], dtype=bool)
    kinds = ["a", "a", "a", "a", "b", "b"]
    found = by_category(right, kinds, each(6))
    assert {name: float(drawn.value) for name, drawn in found.items()} == {"a": 0.75, "b": 0.5}
    macro = macro_accuracy(right, kinds, each(6))
    assert float(macro.value) == 0.625
    # Replicates that miss a category take the mean of those that they have.
    assert np.isfinite(macro.replicates).all()
    assert float(each(6).mean(right).value) == pytest.approx(4 / 6)


def test_chance_is_taken_off_question_by_question() -> None:
    chance = np.array([0.25, 0.25, 0.5, 0.5])
    corrected = chance_corrected(np.array([1, 0, 1, 0], dtype=bool), chance, each(4))
    assert float(corrected.value) == pytest.approx((0.5 - 0.375) / (1 - 0.375))
    assert float(chance_corrected(np.ones(4, bool), chance, each(4)).value) == 1.0
    assert float(chance_corrected(np.zeros(4, bool), chance, each(4)).value) < 0


def test_the_majority_and_its_ties() -> None:
    answers = ["yes", "no", "no", "left", "right"]
    assert majority(answers).tolist() == [False, True, True, False, False]
    kinds = ["q", "q", "q", "w", "w"]  # left and right are as frequent: the first by the alphabet
    assert majority(answers, kinds).tolist() == [False, True, True, True, False]
    assert majority([]).tolist() == []


def test_shares_at_the_ends_have_exact_limits() -> None:
    clusters = each(20)
    numbers = share_numbers(clusters.mean(np.ones(20)), clusters.count)
    assert numbers["value"] == numbers["high"] == 1.0
    assert numbers["low"] == pytest.approx(0.025 ** (1 / 20))
    numbers = share_numbers(clusters.mean(np.arange(20) < 7), clusters.count)
    assert numbers["low"] < 0.35 < numbers["high"]


def test_intervals_are_of_clusters_not_of_questions() -> None:
    """Ten questions about each of ten pictures, all alike: a hundred questions say what ten say."""
    right = np.repeat(np.arange(10) < 5, 10)
    pictures = [f"p{n // 10}" for n in range(100)]
    wide = share_numbers(Clusters(pictures).mean(right), 10)
    narrow = share_numbers(each(100, 2000).mean(right), 100)
    ratio = (wide["high"] - wide["low"]) / (narrow["high"] - narrow["low"])
    assert 2.5 < ratio < 3.9  # the square root of ten is 3.2


# ---- sets ---------------------------------------------------------------------------------------


def draw(labels: Sequence[str]) -> Clusters:
    return Clusters(labels, replicates=100)


def test_sets_and_pairs_by_hand() -> None:
    groups = ["a", "a", "a", "a", "b", "b", "b", "c", "c", "c", "c", ""]
    pairs = ["a1", "a1", "a2", "a2", "b1", "b1", "b2", "c1", "c1", "c2", "c2", ""]
    right = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1], dtype=bool)
    sizes = [4] * 11 + [0]
    found = set_accuracy(right, groups, sizes, groups, draw)
    assert (float(found.share.value), found.complete, found.incomplete) == (0.5, 2, 1)
    found = set_accuracy(right, pairs, 2, groups, draw)
    # b2 has one question of two, so it says nothing; of the other five, a2 is wrong.
    assert (float(found.share.value), found.complete, found.incomplete) == (0.8, 5, 1)
    assert found.clusters == 3


def test_a_set_with_too_many_questions_is_no_set() -> None:
    found = set_accuracy(np.ones(5, bool), ["a"] * 5, 4, ["a"] * 5, draw)
    assert (found.complete, found.incomplete) == (0, 1) and np.isnan(found.share.value)
    assert np.isnan(share_numbers(found.share, found.clusters)["value"])


def test_the_published_way_cannot_reach_one_on_a_part() -> None:
    """The ceilings that follow from AdaptVis's split: 51.4 % of sets on Cont_B's test part.

    LLaVA-1.6's published 57.0 % of Cont_A's sets are 47 of 330 / 4: no other count gives it.
    """
    from wheresight.stimuli.benchmarks.parts import adaptvis_split

    _, test = adaptvis_split(412)
    groups = [f"g{n // 4}" for n in test]  # rows in sets, for the example
    perfect = np.ones(len(test), bool)
    assert published_set_accuracy(perfect, groups, 4) == 42 / (330 / 4)
    _, other = adaptvis_split(408)  # whose rows lie in sets, as the file has them
    sets = [f"g{n // 4}" for n in other]
    assert round(100 * published_set_accuracy(np.ones(327, bool), sets, 4), 1) == 51.4
    assert round(100 * 47 / (330 / 4), 1) == 57.0
    assert float(set_accuracy(perfect, groups, 4, groups, draw).share.value) == 1.0
    whole = [f"g{n // 4}" for n in range(412)]
    assert published_set_accuracy(np.ones(412, bool), whole, 4) == 1.0
    some = np.arange(412) % 4 != 1
    assert published_set_accuracy(some, whole, 4) == 0.0
    assert published_set_accuracy(some, [f"p{n // 2}" for n in range(412)], 2) == 0.5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_sets_are_never_better_than_questions(rows: list[tuple[int, bool]]) -> None:
    groups = [str(group) for group, _ in rows]
    sizes = [groups.count(group) for group in groups]
    right = np.array([hit for _, hit in rows])
    found = set_accuracy(right, groups, sizes, groups, functools.partial(Clusters, replicates=2))
    assert found.incomplete == 0 and found.complete == len(set(groups))
    best = np.mean([right[np.array(groups) == g].mean() for g in set(groups)])
    assert float(found.share.value) <= best + 1e-12


# ---- yes and no ---------------------------------------------------------------------------------


def values(found: YesNo) -> dict[str, float]:
    return {name: float(getattr(found, name).value) for name in YesNo.__dataclass_fields__}


def test_yes_and_no_by_hand() -> None:
    """Four positives (3 Yes, 1 neither), six negatives (2 Yes, 3 No, 1 neither)."""
    positive = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    yes = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], dtype=bool)
    no = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 0], dtype=bool)
    found = values(yes_no(yes, no, positive, each(10)))
    assert found == pytest.approx(
        {
            "accuracy": 0.6,
            "sensitivity": 0.75,
            "specificity": 0.5,
            "balanced_accuracy": 0.625,
            "precision": 0.6,
            "f1": 2 * 0.6 * 0.75 / (0.6 + 0.75),
            "harmonic": 2 * 0.75 * 0.5 / (0.75 + 0.5),
            "yes_share": 0.5,
        }
    )


def test_one_who_always_says_yes() -> None:
    positive = np.arange(100) < 51
    found = values(yes_no(np.ones(100, bool), np.zeros(100, bool), positive, each(100)))
    assert found["accuracy"] == 0.51 and found["balanced_accuracy"] == 0.5
    assert found["harmonic"] == 0.0 and found["f1"] == pytest.approx(2 * 0.51 / 1.51)


def test_one_who_never_says_yes_has_no_precision() -> None:
    positive = np.arange(10) < 5
    found = values(yes_no(np.zeros(10, bool), np.zeros(10, bool), positive, each(10)))
    assert found["accuracy"] == found["f1"] == found["harmonic"] == 0.0
    assert np.isnan(found["precision"])
    with pytest.raises(ValueError, match="both Yes and No"):
        yes_no(positive, positive, positive, each(10))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=40))
def test_two_formulas_of_f1_agree(rows: list[tuple[bool, bool]]) -> None:
    yes, positive = (np.array(column) for column in zip(*rows, strict=True))
    found = values(yes_no(yes, ~yes, positive, each(len(rows), 2)))
    hits = int((yes & positive).sum())
    if hits:
        precision, recall = hits / yes.sum(), hits / positive.sum()
        assert found["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
        assert found["precision"] == pytest.approx(precision)
    if 0 < positive.sum() < len(rows):
        assert 0 <= found["harmonic"] <= found["balanced_accuracy"] + 1e-12
