"""What documents are worth: against numbers made by hand, without lmms-eval."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wheresight.bridges.lmms_eval.bench.compare import task_result
from wheresight.bridges.lmms_eval.bench.samples import clusters_of, numbers
from wheresight.bridges.lmms_eval.bench.stimuli import settings_of
from wheresight.bridges.lmms_eval.bench.units import Answers
from wheresight.errors import RunError, StimulusError
from wheresight.statistics.clustered import Clusters

DRAW = functools.partial(Clusters, replicates=400, seed=0)


def answers(
    task: str,
    official: dict[str, float],
    samples: list[dict[str, Any]],
    pictures: dict[int, list[str]] | None = None,
) -> Answers:
    keyed = {f"{name},none": value for name, value in official.items()}
    noise = {f"{name}_stderr,none": "N/A" for name in official} | {"alias": task}
    numbered = [{"doc_id": n, "target": "", "input": f"{n}", **s} for n, s in enumerate(samples)]
    shown = {n: [f"p{n // 2}"] for n in range(len(samples))} if pictures is None else pictures
    return Answers({"results": {task: {**keyed, **noise}}}, numbered, shown)


def mme(*right: tuple[str, str, float]) -> list[dict[str, Any]]:
    return [
        {"mme_perception_score": {"category": c, "question_id": q, "score": s}} for c, q, s in right
    ]


def test_mme_by_hand() -> None:
    """existence: pictures with 2 and 1 of 2 right: (200 + 50) / 2; count: 0 of 2 and 2 of 2."""
    samples = mme(
        ("existence", "a", 1.0), ("existence", "a", 1.0),
        ("existence", "b", 1.0), ("existence", "b", 0.0),
        ("count", "c", 0.0), ("count", "c", 0.0),
        ("count", "d", 1.0), ("count", "d", 1.0),
    )  # fmt: skip
    found = numbers("mme", answers("mme", {"mme_perception_score": 225.0}, samples), DRAW)
    assert [(n.name, n.official) for n in found] == [
        ("mme_perception_score", 225.0),
        ("mme_perception_score,existence", 125.0),
        ("mme_perception_score,count", 100.0),
    ]
    total, existence, count = (n.drawn for n in found)
    assert total is not None and existence is not None and count is not None
    draws = np.isfinite(total.replicates)
    np.testing.assert_allclose(
        total.replicates[draws], (existence.replicates + count.replicates)[draws]
    )
    assert all(n.unit == "score" for n in found) and [n.documents for n in found] == [8, 4, 4]


def test_a_score_that_is_no_average_has_no_interval() -> None:
    samples = [{"x_acc": {"score": s}} for s in (1.0, 0.0, 1.0, 0.0)]
    (same,) = numbers("t", answers("t", {"x_acc": 0.5}, samples), DRAW)
    (other,) = numbers("t", answers("t", {"x_acc": 0.75}, samples), DRAW)
    assert same.drawn is not None and float(same.drawn.value) == 0.5
    assert other.drawn is None and other.official == 0.75
    task = task_result("t", {"none": answers("t", {"x_acc": 0.75}, samples)}, data="", draw=DRAW)
    entry = task.metrics[0].entries[0]
    assert entry.estimate.low is None and "no average" in str(entry.estimate.reason)


def test_one_record_under_several_names_tells_its_accuracy_alone() -> None:
    """POPE's record stands under five names; its F1 happens to equal its accuracy here."""
    said = [("yes", "yes"), ("no", "yes"), ("yes", "no"), ("no", "no")]
    names = ("pope_accuracy", "pope_precision", "pope_recall", "pope_f1_score", "pope_yes_ratio")
    rows = [
        {"question_id": "1", "score": float(p == t), "prediction": p, "ground_truth": t}
        for p, t in said
    ]
    samples = [dict.fromkeys(names, row) for row in rows]
    official = dict.fromkeys(names, 0.5)
    found = {n.name: n for n in numbers("pope", answers("pope", official, samples), DRAW)}
    assert found["pope_accuracy"].right is not None
    assert found["pope_f1_score"].drawn is not None and found["pope_f1_score"].right is None
    # lmms-eval's yes_ratio is of the right answers, so it is no number of the model's answers.
    assert found["pope_yes_ratio"].drawn is None


def test_mmmu_with_and_without_questions_of_two_pictures() -> None:
    samples = [
        {"mmmu_acc": {"id": f"{n}", "subject": "Art", "answer": gold, "parsed_pred": said}}
        for n, (gold, said) in enumerate([("A", "A"), ("B", "C"), ("C", "C"), ("A", "A")])
    ]
    pictures = {0: ["p"], 1: ["q"], 2: ["r", "s"], 3: ["t"]}
    own = answers("mmmu_pro_standard", {"mmmu_acc": 0.75}, samples, pictures)
    whole, one = numbers("mmmu_pro_standard", own, DRAW)
    assert whole.official == 0.75 and one.own and one.name == "mmmu_acc,one picture"
    assert one.official == pytest.approx(2 / 3) and one.documents == one.clusters == 3
    assert clusters_of(own) == ["p", "q", "r,s", "t"]


def test_hallusion_bench_by_lmms_evals_rule() -> None:
    rows = [("1", "Yes, it is."), ("0", "No."), ("0", "Not, yes?"), ("1", "no")]
    names = ("aAcc", "qAcc", "fAcc")
    found = [
        {"category": "VD", "question_id": "0", "gt_answer": gold, "model_prediction": said}
        for gold, said in rows
    ]
    samples = [dict.fromkeys(names, row) for row in found]
    official = {"aAcc": 0.5, "qAcc": 0.5, "fAcc": 0.0}
    by_name = {n.name: n for n in numbers("h", answers("h", official, samples), DRAW)}
    right = by_name["aAcc"].right
    assert right is not None and right.tolist() == [True, True, False, False]
    assert by_name["qAcc"].drawn is None and by_name["fAcc"].official == 0.0


def test_differences_are_paired_and_clustered_by_picture() -> None:
    """Both say the same of a picture's two questions; one picture differs."""
    first = [{"exact_match": s} for s in (1.0, 1.0, 0.0, 0.0, 1.0, 1.0)]
    second = [{"exact_match": s} for s in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)]
    by = {
        "none": answers("t", {"exact_match": 4 / 6}, first),
        "bapa": answers("t", {"exact_match": 1.0}, second),
    }
    task = task_result("t", by, data="here", draw=DRAW)
    assert (task.documents, task.pictures) == (6, 3)
    a, b = task.metrics[0].entries
    assert a.minus_first is None and a.p is None
    assert b.minus_first is not None and b.minus_first.value == pytest.approx(1 / 3)
    # One discordant cluster of two: chi-squared is (2^2) / 2^2 = 1.
    assert b.p == pytest.approx(0.3173, abs=1e-4)
    clusters = Clusters(["p0", "p0", "p1", "p1", "p2", "p2"], replicates=400, seed=0)
    wanted = clusters.mean(np.array([1.0, 1, 0, 0, 1, 1])).replicates.std(ddof=1)
    assert a.standard_error == pytest.approx(wanted)


def test_what_does_not_vary_has_no_interval_of_no_width() -> None:
    samples = [{"exact_match": 1.0}] * 4
    same = answers("t", {"exact_match": 1.0}, samples)
    (metric,) = task_result("t", {"none": same, "bapa": same}, data="", draw=DRAW).metrics
    first, second = metric.entries
    # Two pictures, all right: the exact binomial limit, 0.025 to the power of 1/2.
    assert first.estimate.low == pytest.approx(0.025**0.5) and first.standard_error is None
    assert second.minus_first is not None and second.minus_first.value == 0
    assert second.minus_first.low is None and second.p == 1.0


def test_other_documents_are_not_compared() -> None:
    one = answers("t", {"exact_match": 1.0}, [{"exact_match": 1.0}])
    two = answers("t", {"exact_match": 1.0}, [{"exact_match": 1.0, "input": "another"}])
    with pytest.raises(RunError, match="other documents"):
        task_result("t", {"none": one, "bapa": two}, data="", draw=DRAW)


def test_settings_of_own_tasks_follow_folder_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(folder: Path | None = None) -> dict[str, Any]:
        return json.loads(settings_of("wheresight_grid_probe", folder, 96))

    assert (told()["items"], told()["picture_size"]) == (200, 96)
    (tmp_path / "settings.jsonl").write_text(json.dumps({**told(), "items": 7}) + "\n")
    assert told(tmp_path)["items"] == 7
    monkeypatch.setenv("WHERESIGHT_GRID_PROBE", '{"items": 9, "picture_size": 64}')
    assert (told(tmp_path)["items"], told()["picture_size"]) == (9, 64)
    monkeypatch.setenv("WHERESIGHT_GRID_PROBE", '{"itmes": 9}')
    with pytest.raises(StimulusError, match="names itmes"):
        told()
    with pytest.raises(RunError, match="could not be read as one line of JSON"):
        told(tmp_path / "none")


def test_a_benchmark_is_opened_before_anything_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHERESIGHT_VSR", raising=False)
    with pytest.raises(RunError, match="Set WHERESIGHT_VSR to .*vsr-zeroshot:FOLDER"):
        settings_of("wheresight_vsr", None, None)
    monkeypatch.setenv("WHERESIGHT_2DS", "2ds#images=3")
    three = json.loads(settings_of("wheresight_2ds", None, None))
    monkeypatch.setenv("WHERESIGHT_2DS", "2ds#images=4")
    four = json.loads(settings_of("wheresight_2ds", None, None))
    assert three["benchmark"] == "2ds#images=3" and three["fingerprint"] != four["fingerprint"]


def test_our_own_tasks_are_clustered_by_their_source_pictures() -> None:
    """Two composites of one key picture are no independent evidence."""
    samples = [{"accuracy": {"score": 1.0, "cluster": key}} for key in ("a", "a", "b")]
    own = answers("t", {"accuracy": 1.0}, samples, {n: [f"composite{n}"] for n in range(3)})
    assert clusters_of(own) == ["a", "a", "b"]
    task = task_result("t", {"none": own}, data="", draw=DRAW)
    assert task.pictures == 2
    assert task.metrics[0].entries[0].estimate.low == pytest.approx(0.025**0.5)
