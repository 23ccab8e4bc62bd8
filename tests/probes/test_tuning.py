"""Choosing with ties, and settings that are put together instead of run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import wheresight
from wheresight.errors import RunError
from wheresight.interventions.grids import read_grid
from wheresight.lvlm.scoring import Scorer
from wheresight.probes.candidates import NONE, Candidate, candidates, to_run
from wheresight.probes.evaluate import evaluate
from wheresight.probes.scored import readers, score
from wheresight.probes.tuning import OBJECTIVES, choose, objective
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.stimuli.benchmarks import open_benchmark

SPEC = "localisation#items=4,grid=2x2,canvas=96,tile=48,wording=bare"


def fixed(*values: float) -> list[Drawn]:
    return [Drawn(np.array(value), np.empty((0,))) for value in values]


# ---- the choice -------------------------------------------------------------------------------


def test_the_highest_is_chosen() -> None:
    choice = choose(fixed(0.5, 0.6, 0.7, 0.65), [0, 0.5, 0.2, 0.2])
    assert (choice.number, choice.tied, choice.again) == (2, (), ())


def test_of_equals_the_nearest_to_the_model_then_the_first() -> None:
    assert choose(fixed(0.7, 0.7, 0.7), [0, 0.5, 0.2]).number == 0
    choice = choose(fixed(0.5, 0.7, 0.7, 0.7), [0, 0.5, 0.2, 0.2])
    assert (choice.number, choice.tied) == (2, (1, 3))
    last_digit = choose(fixed(0.1 + 0.2, 0.3), [0, 1])
    assert (last_digit.number, last_digit.tied) == (0, (1,))


def test_what_is_undefined_is_never_chosen() -> None:
    assert choose(fixed(np.nan, 0.1, np.nan), [0, 1, 0]).number == 1
    with pytest.raises(RunError, match="undefined for every setting"):
        choose(fixed(np.nan, np.nan), [0, 1])


def test_how_often_each_would_be_chosen_again() -> None:
    drawn = [
        Drawn(np.array(0.5), np.array([0.5, 0.5, 0.5, 0.5])),
        Drawn(np.array(0.6), np.array([0.6, 0.4, 0.5, np.nan])),
        Drawn(np.array(0.6), np.array([0.6, 0.9, 0.4, 0.1])),
    ]
    choice = choose(drawn, [0, 2, 1])
    assert (choice.number, choice.tied) == (2, (1,))
    assert choice.again == (0.5, 0.0, 0.5)  # each draw has its own ties, broken the same way
    right = np.random.default_rng(0).random((3, 60)) < [[0.5], [0.6], [0.7]]
    clusters = Clusters([str(n // 2) for n in range(60)], replicates=300)
    again = choose([clusters.mean(row) for row in right], [0, 1, 2]).again
    assert sum(again) == pytest.approx(1) and all(share > 0 for share in again)


def test_objectives_by_name() -> None:
    assert objective("sets") is OBJECTIVES["sets"]
    with pytest.raises(RunError, match="Did you mean 'accuracy'"):
        objective("acuracy")


# ---- settings ---------------------------------------------------------------------------------


def test_a_grid_needs_few_passes() -> None:
    planned = candidates(read_grid("adaptvis", published=True))
    assert len(planned) == 31 and planned[0].spec == NONE
    assert sorted(to_run(planned)) == [
        NONE, *(f"scalingvis:alpha={alpha}" for alpha in ("0.5", "0.8", "1.2", "1.5", "2.0")),
    ]  # fmt: skip
    assert to_run([one.direct() for one in planned[:3]]) == [one.spec for one in planned[:3]]


def test_distance_from_the_model_as_it_is() -> None:
    assert Candidate.of("scalingvis:alpha=1.5").distance == 0.5
    assert Candidate.of("shift:amount=-2").distance == 2
    assert Candidate.of("adaptvis:low=0.5,high=2").distance == 1.5
    assert Candidate.of("bapa+temperature:alpha=0").distance == 1
    for idle in ("scalingvis:alpha=1", "adaptvis:low=1,high=1"):
        assert (Candidate.of(idle).runs, Candidate.of(idle).distance) == ((NONE,), 0)
    half = Candidate.of("bapa+adaptvis:low=1,high=2,layers=0-1")
    assert half.runs == ("bapa", "bapa", "bapa+scalingvis:alpha=2.0,layers=0-1")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(wheresight.load("pocket", device="cpu"))


@pytest.mark.parametrize(("before", "rounding"), [("", ""), ("bapa+", ",rounding=3")])
def test_putting_together_is_running_the_setting(
    scorer: Scorer, before: str, rounding: str
) -> None:
    benchmark = open_benchmark(SPEC)
    base = evaluate(scorer, benchmark, [before + NONE])
    (records,) = base.values()
    confidence = np.sort([record["confidence"] for record in records])
    gap = 2 + int(np.argmax(np.diff(confidence[2:-2])))  # away from every answer
    threshold = round(float(confidence[gap : gap + 2].mean()), 5)
    given = f"{before}adaptvis:low={{0,0.5}},high={{1,3}},threshold={threshold}{rounding}"
    planned = candidates(read_grid(given))[2:]
    assert len(planned) == 3
    found = evaluate(scorer, benchmark, to_run(planned), max_new_tokens=3)
    itself = evaluate(scorer, benchmark, [one.spec for one in planned], max_new_tokens=3)
    kinds = set()
    for one in planned:
        if one.in_doubt(found):  # by design run itself
            continue
        mine, real = one.records(found), itself[one.spec]
        for a, b in zip(mine, real, strict=True):
            np.testing.assert_allclose(a["logp"], b["logp"], atol=1e-5)
            np.testing.assert_allclose(a["mean_logp"], b["mean_logp"], atol=1e-5)
            assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-5)
            assert {k: a[k] for k in a if k not in ("logp", "mean_logp", "confidence")} == {  # type: ignore[literal-required]
                k: b[k]
                for k in b
                if k not in ("logp", "mean_logp", "confidence")  # type: ignore[literal-required]
            }  # texts too
        for reader in readers(real):
            np.testing.assert_array_equal(score(mine, reader).right, score(real, reader).right)
        kinds.add(one.unsure(found))
    unsure = kinds - {None}
    assert unsure and all(0 < share < 1 for share in unsure if share is not None)


def test_at_the_threshold_itself_the_last_digits_would_decide(scorer: Scorer) -> None:
    benchmark = open_benchmark(SPEC)
    found = evaluate(scorer, benchmark, [NONE, "scalingvis:alpha=0.5", "scalingvis:alpha=1.5"])
    exactly = found[NONE][0]["confidence"]
    assert Candidate.of(f"adaptvis:threshold={exactly}").in_doubt(found)
    assert not Candidate.of("adaptvis:threshold=0").in_doubt(found)
    assert not Candidate.of("scalingvis:alpha=0.5").in_doubt(found)
    sure = Candidate.of("adaptvis:threshold=0")
    for mine, scaled in zip(sure.records(found), found["scalingvis:alpha=1.5"], strict=True):
        assert mine["intervention"] == "adaptvis:threshold=0.0"
        assert mine["logp"] == scaled["logp"]
    assert dataclasses.replace(sure.direct(), runs=sure.runs, by=sure.by) == sure
