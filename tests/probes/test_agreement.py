"""Answers before and after a control: habits, eyes, and eyes that confuse left and right."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.probes.agreement import Agreement, agreement
from wheresight.probes.evaluate import Evaluated
from wheresight.statistics.clustered import Clusters

DRAW = functools.partial(Clusters, replicates=100)
WAYS = ("left", "right", "on", "under")
MIRRORED = {"left": "right", "right": "left", "on": "on", "under": "under"}
RIGHTS = ("left", "right", "on", "under", "left", "right")


def record(number: int, options: Sequence[str], right: str, said: str) -> Evaluated:
    picked = options.index(said) if said in options else None
    logp = [-0.5 if n == picked else -3.0 for n in range(len(options))]
    return Evaluated(
        benchmark="b", control="", question=f"q{number}", cluster=f"c{number // 2}", category="",
        group="", group_size=0, pair="", prompt="?", letters=False, options=list(options),
        right=options.index(right), present=None, picture="p", intervention="none",
        intervention_json="[]", logp=logp, mean_logp=logp, ended=False, confidence=1.0, text=said,
    )  # fmt: skip


def mirror(model: Callable[[int, str], str]) -> Agreement:
    """A model says something of each question by its number and what is right."""
    plain = [record(n, WAYS, right, model(n, right)) for n, right in enumerate(RIGHTS)]
    turned = [MIRRORED[right] for right in RIGHTS]
    control = [record(n, WAYS, right, model(n, right)) for n, right in enumerate(turned)]
    found = agreement(plain, control, "logp", DRAW)
    assert found is not None
    return found


def shares(found: Agreement, *names: str) -> list[float]:
    return [float(getattr(found, name).share.value) for name in names]


CHANGED = ("followed", "stayed", "otherwise")
RIGHT = ("right_both", "right_plain_only", "right_control_only", "wrong_both")


def test_one_who_looks_follows() -> None:
    found = mirror(lambda number, right: right)
    assert (found.questions, found.answer_changes, found.answer_stays) == (6, 4, 2)
    assert (found.clusters, found.followed.clusters, found.same.clusters) == (3, 2, 1)
    assert shares(found, *CHANGED) == [1, 0, 0]
    assert shares(found, *RIGHT) == [1, 0, 0, 0]
    assert shares(found, "same") == [1]
    assert found.options_move == 0 and np.isnan(found.same_place.share.value)


def test_a_habit_stays() -> None:
    found = mirror(lambda number, right: "left")
    assert shares(found, *CHANGED) == [0, 1, 0]
    # Left is right of two of six before, and of two others after.
    assert shares(found, *RIGHT) == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


def test_eyes_that_confuse_left_and_right_follow_and_are_wrong() -> None:
    found = mirror(lambda number, right: MIRRORED[right])
    assert shares(found, *CHANGED) == [1, 0, 0]
    assert shares(found, *RIGHT) == pytest.approx([1 / 3, 0, 0, 2 / 3])  # on, under


def test_an_answer_that_changes_to_something_else_is_neither() -> None:
    found = mirror(lambda number, right: "on" if right == "left" else right)
    assert shares(found, *CHANGED) == [0, 0, 1]


def test_text_that_names_nothing_neither_follows_nor_stays() -> None:
    plain = [record(n, WAYS, right, "who knows") for n, right in enumerate(RIGHTS)]
    control = [record(n, WAYS, MIRRORED[right], "who knows") for n, right in enumerate(RIGHTS)]
    found = agreement(plain, control, "strict", DRAW)
    assert found is not None
    assert shares(found, *CHANGED, "same") == [0, 0, 1, 0]


def test_places_in_a_list_that_moved() -> None:
    turned = ("under", "left", "right", "on")
    plain = [record(n, WAYS, right, WAYS[0]) for n, right in enumerate(RIGHTS)]
    by_place = [record(n, turned, right, turned[0]) for n, right in enumerate(RIGHTS)]
    found = agreement(plain, by_place, "logp", DRAW)
    assert found is not None and (found.answer_changes, found.answer_stays) == (0, 6)
    assert shares(found, "same", "same_place") == [0, 1] and found.options_move == 6
    assert np.isnan(found.followed.share.value)
    by_word = [record(n, turned, right, WAYS[0]) for n, right in enumerate(RIGHTS)]
    again = agreement(plain, by_word, "logp", DRAW)
    assert again is not None and shares(again, "same", "same_place") == [1, 0]
    more = [record(n, ("inside", *WAYS), right, "inside") for n, right in enumerate(RIGHTS)]
    added = agreement(plain, more, "logp", DRAW)
    assert added is not None and added.options_move == 6
    assert shares(added, "same", "same_place") == [0, 1]


def test_only_questions_in_both_count_in_any_order() -> None:
    plain = [record(n, WAYS, right, right) for n, right in enumerate(RIGHTS)]
    control = [record(n, WAYS, MIRRORED[RIGHTS[n]], "left") for n in (5, 1, 9 - 5)]
    found = agreement(plain, control, "logp", DRAW)
    assert found is not None and found.questions == 3
    assert shares(found, *RIGHT) == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert agreement(plain[:1], control, "logp", DRAW) is None


def test_published_says_right_and_wrong_alone() -> None:
    plain = [record(n, WAYS, right, right) for n, right in enumerate(RIGHTS)]
    found = agreement(plain, plain, "published", DRAW)
    assert found is not None and shares(found, "right_both") == [1]
    assert all(np.isnan(shares(found, *CHANGED, "same", "same_place")))


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_shares_add_up_to_one_in_value_and_in_every_replicate(seed: int) -> None:
    drawn = random.Random(seed)
    plain = [record(n, WAYS, drawn.choice(WAYS), drawn.choice(WAYS)) for n in range(20)]
    control = [record(n, WAYS, drawn.choice(WAYS), drawn.choice(WAYS)) for n in range(20)]
    found = agreement(plain, control, "logp", DRAW)
    assert found is not None
    for names in (CHANGED, RIGHT):
        parts = [getattr(found, name).share for name in names]
        assert sum(float(part.value) for part in parts) == pytest.approx(1)
        sums = np.sum([part.replicates for part in parts], axis=0)
        assert np.allclose(sums[np.isfinite(sums)], 1)
    right = [score["right"] == int(np.argmax(score["logp"])) for score in plain]
    both = float(found.right_both.share.value) + float(found.right_plain_only.share.value)
    assert both == pytest.approx(np.mean(right))
