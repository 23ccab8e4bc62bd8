"""From a benchmark to records to numbers, on the shipped model and by hand."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import wheresight
from wheresight.errors import RunError
from wheresight.lvlm.scoring import Scorer
from wheresight.probes.evaluate import Evaluated, evaluate
from wheresight.probes.scored import baselines, readers, score
from wheresight.statistics.clustered import Clusters
from wheresight.stimuli.benchmarks import open_benchmark

SPEC = "localisation#items=4,grid=2x2,canvas=96,tile=48,wording=bare"
DRAW = functools.partial(Clusters, replicates=200)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(wheresight.load("pocket", device="cpu"))


@pytest.fixture(scope="module")
def found(scorer: Scorer) -> dict[str, list[Evaluated]]:
    counted: list[int] = []
    benchmark = open_benchmark(SPEC)
    made = evaluate(
        scorer, benchmark, ["none", "bapa", "none"], max_new_tokens=4, advance=counted.append
    )
    assert list(made) == ["none", "bapa"] and sum(counted) == 2 * 16
    return made


def test_the_pocket_model_knows_where_things_are(found: dict[str, list[Evaluated]]) -> None:
    records = found["none"]
    assert [r["question"] for r in records] == [q.id for q in open_benchmark(SPEC).questions()]
    assert readers(records) == (
        "logp", "mean_logp", "exact", "strict", "first", "last", "published",
    )  # fmt: skip
    by_logp = score(records, "logp", DRAW)
    given = baselines(records)
    assert (given.chance, given.majority, given.majority_by_category) == (0.25, 0.25, 1.0)
    assert given.present is None
    assert float(by_logp.accuracy.value) > 0.7 > given.chance
    assert float(by_logp.accuracy.value) == by_logp.right.mean()
    assert by_logp.clusters == 4 and by_logp.yes_no is None and by_logp.pairs is None
    assert by_logp.sets is not None and by_logp.sets.complete == 4
    whole = by_logp.right.reshape(4, 4).all(1).mean()
    assert float(by_logp.sets.share.value) == whole
    corrected = (by_logp.right.mean() - 0.25) / 0.75
    assert float(by_logp.corrected.value) == pytest.approx(corrected)
    for name, share in by_logp.categories.items():
        mine = [right for r, right in zip(records, by_logp.right, strict=True)
                if r["category"] == name]  # fmt: skip
        assert float(share.value) == np.mean(mine)


def test_differences_are_paired(found: dict[str, list[Evaluated]]) -> None:
    one, other = (score(found[spec], "logp", DRAW) for spec in ("none", "bapa"))
    difference = one.accuracy - other.accuracy
    assert float(difference.value) == one.right.mean() - other.right.mean()
    again = score(found["none"], "logp", DRAW)
    assert (one.accuracy - again.accuracy).interval() == (0.0, 0.0)


def test_a_blank_picture_leaves_a_prior(scorer: Scorer, found: Any) -> None:
    blind = evaluate(scorer, open_benchmark(f"{SPEC},control=blank"), ["none"], control="blank")
    seen, unseen = score(found["none"], "logp", DRAW), score(blind["none"], "logp", DRAW)
    assert unseen.right.mean() < 0.5 < seen.right.mean()
    assert readers(blind["none"]) == ("logp", "mean_logp")
    assert {r["control"] for r in blind["none"]} == {"blank"}
    # One item has the same blank picture and words in every cell, so one answer, once right.
    assert unseen.right.sum() == 4


def test_the_pocket_model_answers_2ds_above_those_who_do_not_look(scorer: Scorer) -> None:
    spec = "2ds#images=30,variant=small_models,wording=bare"
    (records,) = evaluate(scorer, open_benchmark(spec), ["none"]).values()
    (blank,) = evaluate(scorer, open_benchmark(f"{spec},control=blank"), ["none"]).values()
    seen, blind = score(records, "logp", DRAW), score(blank, "logp", DRAW)
    low, _ = seen.accuracy.interval((0.0, 1.0))
    given = baselines(records)
    assert given.present is not None and given.chance < given.present < float(low)
    assert float(low) > max(given.majority, given.majority_by_category)
    assert float((seen.accuracy - blind.accuracy).interval()[0]) > 0.05


def test_the_users_own_set_with_letters(scorer: Scorer, tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), "red").save(tmp_path / "a.png")
    (tmp_path / "q.csv").write_text(
        "image,question,options,answer\na.png,Where is it?,left|right,left\na.png,Is it red?,,yes\n"
    )
    benchmark = open_benchmark(f"own:{tmp_path / 'q.csv'}")
    (records,) = evaluate(scorer, benchmark, ["none"], letters=True, max_new_tokens=2).values()
    assert records[0]["prompt"].startswith("Where is it?\nA. left\nB. right\n")
    assert [len(r["logp"]) for r in records] == [2, 2]
    assert readers(records) == ("logp", "mean_logp", "letter")


def test_questions_of_one_picture_are_brought_together(scorer: Scorer, tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (96, 96), "red").save(tmp_path / f"{name}.png")
    rows = [f"{name}.png,Is it {word}?,,yes" for word in ("red", "blue") for name in ("a", "b")]
    (tmp_path / "q.csv").write_text("\n".join(["image,question,options,answer", *rows]))
    seen: list[str] = []
    benchmark = open_benchmark(f"own:{tmp_path / 'q.csv'}")
    honest = benchmark.picture
    benchmark.picture = lambda q: seen.append(q.picture) or honest(q)  # type: ignore[method-assign,func-returns-value]
    (records,) = evaluate(scorer, benchmark, ["none"]).values()
    assert seen == ["a.png", "b.png"]
    assert [r["question"] for r in records] == ["0", "2", "1", "3"]


# ---- scoring, by hand -----------------------------------------------------------------------


def record(right: int, text: str | None, options: Sequence[str], **more: Any) -> Evaluated:
    logp = more.pop("logp", [-1.0] * len(options))
    base = Evaluated(
        benchmark="b", control="", question="q", cluster="c", category="", group="", group_size=0,
        pair="", prompt="?", letters=False, options=list(options), right=right, present=None,
        picture="p", intervention="none", intervention_json="[]", logp=logp, mean_logp=logp,
        ended=False, confidence=1.0, text=text,
    )  # fmt: skip
    base.update(more)  # type: ignore[typeddict-item]
    return base


def test_readers_differ_on_sentences_that_name_two_options() -> None:
    options = ("left", "right", "on", "under")
    records = [
        record(3, "on the floor, under the chair", options, cluster="1"),
        record(2, "On", options, cluster="2"),
        record(0, "A spoon", options, cluster="3"),
        record(2, "A spoon", options, cluster="4"),
    ]
    wanted = {"published": 3, "exact": 1, "strict": 1, "first": 1, "last": 2}
    for reader, count in wanted.items():
        scored = score(records, reader, DRAW)
        assert scored.right.sum() == count, reader
    assert score(records, "strict", DRAW).unread == 0.75
    assert score(records, "last", DRAW).unread == 0.5
    # Ties of log-probability go to the first option.
    assert score(records, "logp", DRAW).right.tolist() == [False, False, True, False]


def test_yes_and_no_in_any_order_of_options() -> None:
    records = [
        record(0, "Yes", ("yes", "no"), cluster="1"),
        record(1, "Yes, it is", ("no", "yes"), cluster="2"),
        record(1, "no", ("yes", "no"), cluster="3"),
        record(0, "Nothing", ("no", "yes"), cluster="4"),
    ]
    found = score(records, "strict", DRAW)
    assert found.right.tolist() == [True, True, True, False] and found.yes_no is not None
    assert float(found.yes_no.sensitivity.value) == 1.0
    assert float(found.yes_no.specificity.value) == 0.5
    published = score(records, "published", DRAW)
    assert published.right.tolist() == [True, True, False, True] and published.yes_no is None
    assert np.isnan(published.unread)


def test_what_cannot_be_scored_is_refused() -> None:
    silent = [record(0, None, ("a", "b"))]
    assert readers(silent) == ("logp", "mean_logp")
    with pytest.raises(RunError, match="Did you mean 'strict'"):
        score(silent, "strickt")
    with pytest.raises(RunError, match="there is none"):
        score(silent, "strict")
    with pytest.raises(RunError, match="No records"):
        score([], "logp")
