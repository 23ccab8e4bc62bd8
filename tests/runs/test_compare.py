"""Both sides together: the same numbers as the folders', one model, one set of questions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from wheresight.errors import RunError
from wheresight.probes.evaluate import Evaluated
from wheresight.report.verdict import words
from wheresight.runs import results as grid_results
from wheresight.runs import sides, verdict
from wheresight.runs.comparable import BenchmarkRecords, Comparable, ProbeRecords, open_folders
from wheresight.runs.compare import CompareRequest, compare, run_compare
from wheresight.runs.evaluate import EvaluateRequest, run_evaluate
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.store import RunFolder
from wheresight.runs.verdict import Compared, Placed, Verdict

ITEMS, REPLICATES = 8, 200
PLACES = "localisation#items=6,grid=1x2,wording=bare"
SHAPES = "2ds#images=6,variant=small_models,wording=bare"


def probe(out: Path, *specs: str, **more: Any) -> str:
    given = {"items": ITEMS, "grid": "1x2", "device": "cpu", "replicates": REPLICATES, **more}
    run_grid(GridRequest(out=str(out), interventions=specs, **given))
    return str(out)


def evaluation(out: Path, *specs: str, **more: Any) -> str:
    given = {"benchmarks": (SHAPES, PLACES), "device": "cpu", "replicates": REPLICATES, **more}
    run_evaluate(EvaluateRequest(out=str(out), interventions=specs, **given))
    return str(out)


def part(folder: str, out: Path, *specs: str, items: int = ITEMS, **settings: Any) -> str:
    """Some interventions and items of a probe, in a folder of their own, as of other settings."""
    run, made = RunFolder(folder), RunFolder(out)
    rows = run.read()
    kept = rows["item"].unique().to_pylist()[:items]
    rows = rows.filter(pc.is_in(rows["intervention"], pa.array(specs)))
    rows = rows.filter(pc.is_in(rows["item"], pa.array(kept)))
    identity = {**run.manifest()["identity"], **settings}
    made.prepare(identity, {"command": "c", "options": {"interventions": specs}})
    made.write("some", rows)
    return str(out)


def share(folder: str, out: Path, spec: str, *benchmarks: str) -> str:
    """One intervention's answers to some benchmarks of an evaluation, in a folder of their own."""
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns(".lock*", "evaluation.json"))
    manifest = json.loads((out / "evaluate.json").read_text())
    kept = []
    for unit in manifest["units"]:
        (file,) = (out / "records").glob(f"{unit}-*")
        first = pq.read_table(file).slice(0, 1).to_pylist()[0]
        name = first["benchmark"].partition("#")[0].partition(":")[0]
        if first["intervention"] == spec and name in benchmarks:
            kept.append(unit)
        else:
            file.unlink()
    manifest |= {"units": kept, "interventions": [spec]}
    (out / "evaluate.json").write_text(json.dumps(manifest))
    return str(out)


def request(*folders: str, **more: Any) -> CompareRequest:
    return CompareRequest(folders, **{"replicates": REPLICATES, **more})


def verdict_of(*folders: str, **more: Any) -> Verdict:
    return compare(open_folders(folders), request(*folders, **more))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sides")


@pytest.fixture(scope="module")
def moved(here: Path) -> str:
    return probe(here / "probe", "none", "bapa", "reverse")


@pytest.fixture(scope="module")
def asked(here: Path) -> str:
    return evaluation(here / "evaluation", "none", "bapa")


@pytest.fixture(scope="module")
def found(moved: str, asked: str) -> Verdict:
    return verdict_of(moved, asked)


def of(found: Verdict, spec: str) -> Placed:
    (one,) = (p for p in found.interventions if p.intervention == spec)
    return one


def close(one: Compared, estimate: dict[str, Any], difference: dict[str, Any] | None) -> None:
    for mine, theirs in ((one.estimate, estimate), (one.difference, difference)):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            for end in ("value", "low", "high"):
                assert getattr(mine, end) == pytest.approx(theirs[end], abs=1e-12), end


def test_numbers_are_those_of_the_folders(found: Verdict, moved: str, asked: str) -> None:
    results = json.loads((Path(moved) / "results.json").read_text())
    told = json.loads((Path(asked) / "evaluation.json").read_text())
    overall = {r["intervention"]: r["overall"] for r in results["interventions"]}
    (against,) = (c["overall"] for c in results["comparisons"] if c["b"] == "bapa")
    numbers = of(found, "bapa").probes[0]
    for field in ("auc", "balanced_accuracy", "hit_rate", "false_alarm_rate"):
        close(getattr(numbers, field), overall["bapa"][field], against[field])
    for field in ("strict_accuracy", "flip_rate"):
        close(
            getattr(numbers, field), overall["bapa"]["agreement"][field],
            against["agreement"][field],
        )  # fmt: skip
    for field, where in (("delta", "spread"), ("delta_debiased", "spread")):
        close(getattr(numbers, field), overall["bapa"][where][field], against[where][field])
    close(
        numbers.balanced_delta_debiased, overall["bapa"]["balanced_spread"]["delta_debiased"],
        against["balanced_spread"]["delta_debiased"],
    )  # fmt: skip
    for benchmark, mine in zip(told["benchmarks"], of(found, "bapa").benchmarks, strict=True):
        none, bapa = (side["readers"][0] for side in benchmark["interventions"])
        close(mine.accuracy, bapa["accuracy"], bapa["minus_first"])
        assert mine.chance_corrected.difference is not None
        assert mine.chance_corrected.difference.value == pytest.approx(
            bapa["chance_corrected"]["value"] - none["chance_corrected"]["value"]
        )
    assert of(found, "none").probes[0].flip_rate.difference is None
    for benchmark, test in zip(told["benchmarks"], found.benchmarks, strict=True):
        base = benchmark["baselines"]
        assert test.blind == pytest.approx(base["blind"][0]["chance_corrected"]["value"])
        assert (test.chance, test.majority) == (base["chance"], base["majority"])
        assert test.blind_under == "none" and test.questions == benchmark["questions"]
    assert words.blind(found) == pytest.approx(sum(t.blind for t in found.benchmarks) / 2)  # type: ignore[misc]


def test_the_axes_are_strict_accuracy_and_the_mean_of_benchmarks(found: Verdict) -> None:
    for one in found.interventions:
        assert one.robustness == one.probes[0].strict_accuracy
        values = [b.chance_corrected.estimate.value for b in one.benchmarks]
        assert one.awareness.estimate.value == pytest.approx(sum(values) / 2)  # type: ignore[arg-type]
    difference, ends = of(found, "bapa").awareness.difference, of(found, "bapa").awareness.estimate
    assert difference is not None and difference.low is not None and difference.high is not None
    assert difference.low <= difference.value <= difference.high  # type: ignore[operator]
    assert ends.low < ends.value < ends.high  # type: ignore[operator]


def test_what_some_only_have_is_listed_with_what_is_missing(found: Verdict) -> None:
    assert [one.intervention for one in found.interventions] == ["none", "bapa"]
    assert [(m.intervention, m.lacks) for m in found.missing] == [
        ("reverse", ["2ds", "localisation"])
    ]
    assert found.reference == "none"
    # Nine numbers of the probe, two of each benchmark, and the mean over benchmarks.
    assert found.multiplicity.differences == 9 + 2 * 2 + 1
    assert found.multiplicity.expected_by_chance == pytest.approx(0.05 * 14)
    assert found.multiplicity.pairs == 1


def test_the_stored_results_are_a_short_cut_and_no_other_numbers(
    found: Verdict, moved: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("results.json says all that is needed")

    bare = tmp_path / "bare"
    shutil.copytree(moved, bare, ignore=shutil.ignore_patterns(".lock*", "results.json"))
    again = verdict_of(str(bare), asked)
    assert again.interventions == found.interventions
    with monkeypatch.context() as patch:
        patch.setattr(sides, "summarise", refuse)
        assert verdict_of(moved, asked).interventions == found.interventions
        with pytest.raises(AssertionError):
            verdict_of(moved, asked, replicates=REPLICATES + 1)
    stale = json.loads((Path(moved) / "results.json").read_text())
    stale["counts"]["rows"] -= 1  # made before the last records were
    stale["interventions"][1]["overall"]["auc"]["value"] = 0.123
    (bare / "results.json").write_text(json.dumps(stale))
    assert grid_results.read(bare).interventions[1].overall.auc.value == 0.123
    assert verdict_of(str(bare), asked).interventions == found.interventions


def test_another_reference_turns_differences_round(found: Verdict, moved: str, asked: str) -> None:
    turned = verdict_of(moved, asked, reference="bapa")
    assert [one.intervention for one in turned.interventions] == ["bapa", "none"]
    for side in ("robustness", "awareness"):
        mine = getattr(of(turned, "none"), side).difference
        theirs = getattr(of(found, "bapa"), side).difference
        assert mine.value == pytest.approx(-theirs.value)
        assert (mine.low, mine.high) == pytest.approx((-theirs.high, -theirs.low), abs=1e-9)
        assert (
            getattr(of(turned, "bapa"), side).estimate == getattr(of(found, "bapa"), side).estimate
        )
    with pytest.raises(RunError, match=r"The reference 'reverse' was not measured by 2ds, local"):
        verdict_of(moved, asked, reference="reverse")


def test_the_same_tests_in_several_folders_are_joined(
    found: Verdict, moved: str, asked: str, here: Path
) -> None:
    folders = [
        part(moved, here / "a", "none"), part(moved, here / "b", "bapa"),
        share(asked, here / "c", "bapa", "localisation"),
        share(asked, here / "d", "none", "localisation", "2ds"),
        share(asked, here / "e", "bapa", "2ds"),
    ]  # fmt: skip
    joined = verdict_of(*folders, reference="none")
    assert [p.folders for p in joined.probes] == [folders[:2]]
    assert {b.label: b.folders for b in joined.benchmarks} == {
        "localisation": [folders[2], folders[3]], "2ds": [folders[3], folders[4]],
    }  # fmt: skip
    for spec in ("none", "bapa"):
        assert of(joined, spec).robustness == of(found, spec).robustness
        by_label = {b.benchmark: b for b in of(found, spec).benchmarks}
        for mine in of(joined, spec).benchmarks:
            assert mine == by_label[mine.benchmark]


def test_two_probes_count_alike(moved: str, asked: str, here: Path) -> None:
    other = part(moved, here / "jittered", "none", "bapa", jitter=1, items=5)
    both = verdict_of(moved, other, asked)
    labels = [p.label for p in both.probes]
    assert labels == ["probe, jitter 0", "probe, jitter 1"]
    for one in both.interventions:
        values = [p.strict_accuracy.estimate.value for p in one.probes]
        assert one.robustness.estimate.value == pytest.approx(sum(values) / 2)  # type: ignore[arg-type]
    (lacking,) = both.missing
    assert lacking.lacks == ["probe, jitter 1", "2ds", "localisation"]


def test_folders_of_other_models_are_refused(moved: str, asked: str, here: Path) -> None:
    eager = evaluation(here / "eager", "none", benchmarks=(PLACES,), attention="eager", blind=False)
    with pytest.raises(RunError) as error:
        verdict_of(moved, asked, eager)
    assert "not of the same model" in str(error.value)
    assert f"attention is \"sdpa\" in '{moved}' and \"eager\" in '{eager}'" in str(error.value)


def test_what_else_is_refused(moved: str, asked: str, here: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no evaluation among the folders .*wheresight evaluate"):
        verdict_of(moved)
    with pytest.raises(RunError, match="no probe among the folders .*wheresight probe"):
        verdict_of(asked)
    with pytest.raises(RunError, match="holds neither a probe nor an evaluation"):
        verdict_of(moved, str(tmp_path / "nowhere"))
    with pytest.raises(RunError, match="reader 'strict' cannot read .* logp, mean_logp; .*max-new"):
        verdict_of(moved, asked, reader="strict")
    paper = part(moved, here / "paper", "none", protocol="paper")
    with pytest.raises(RunError, match="always says Yes looks perfect.*--protocol balanced"):
        verdict_of(paper, asked)
    only = share(asked, here / "only", "bapa", "2ds")
    with pytest.raises(RunError, match="No intervention was measured by every probe and benchmark"):
        verdict_of(part(moved, here / "other", "reverse"), only)
    blank = f"{PLACES},control=blank"
    blind = evaluation(here / "blind", "none", benchmarks=(blank,), blind=False)
    with pytest.raises(RunError, match="on blank pictures, which show no awareness"):
        verdict_of(moved, blind)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and holds no comparison"):
        run_compare(request(moved, asked, out=str(tmp_path / "full")))
    copy = tmp_path / "copy"
    shutil.copytree(asked, copy, ignore=shutil.ignore_patterns(".lock*"))
    file = sorted((copy / "records").iterdir())[0]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="Records are missing .* Repeat the command"):
        verdict_of(moved, str(copy))


def test_controls_do_not_count_twice(moved: str, asked: str, here: Path) -> None:
    mirrored = evaluation(
        here / "mirrored", "none", "bapa", benchmarks=(f"{SHAPES},control=mirror",), blind=False
    )
    both = verdict_of(moved, asked, mirrored)
    assert [b.label for b in both.benchmarks] == ["2ds", "localisation"]
    (left,) = both.left_out
    assert "control=mirror" in left.benchmark and "control of a benchmark" in left.reason
    alone = verdict_of(moved, mirrored)
    assert [b.label for b in alone.benchmarks] == ["2ds"] and not alone.left_out


def test_files_are_written_and_read_back(moved: str, asked: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = run_compare(request(moved, asked, out=str(out)), command=["wheresight", "compare"])
    assert sorted(p.name for p in out.iterdir()) == [
        "compare.html", "compare.json", "plane.png", "plane.svg",
    ]  # fmt: skip
    assert verdict.read(out) == outcome.verdict
    assert outcome.page == (out / "compare.html").resolve().as_uri()
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    run_compare(request(moved, asked, out=str(out)), command=["wheresight", "compare"])
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


# ---- made-up answers, of which the truth is known ---------------------------------------------


def table(strategies: dict[str, Any], items: int = 40, cells: int = 4) -> pa.Table:
    """Records of strategies that say Yes or No to (item, cell, whether it is there)."""
    rows = []
    for item in range(items):
        for cell in range(cells):
            for question in ("positive", "absent"):
                for spec, says in strategies.items():
                    yes = says(item, cell, question == "positive")
                    rows.append(
                        {"item": f"i{item:03}", "key": f"k{item:03}", "cell": cell,
                         "question": question, "intervention": spec,
                         "expected": question == "positive", "margin": 1.0 if yes else -1.0,
                         "answer": "yes" if yes else "no"}
                    )  # fmt: skip
    return pa.Table.from_pylist(rows)


def questions(right: dict[str, Any], count: int = 80) -> dict[str, list[Evaluated]]:
    """Records of two options, of which each strategy picks the right one or the other."""
    found: dict[str, list[Evaluated]] = {}
    for spec, is_right in right.items():
        found[spec] = [
            {"benchmark": "own:q", "control": "", "question": f"q{n:03}", "cluster": f"p{n:03}",
             "category": "", "group": "", "group_size": 0, "pair": "", "prompt": "?",
             "letters": False, "options": ["left", "right"], "right": n % 2, "present": None,
             "picture": "", "intervention": spec, "intervention_json": "[]",
             "logp": [0.0, -1.0] if (n % 2 == 0) == bool(is_right(n)) else [-1.0, 0.0],
             "mean_logp": [0.0, 0.0], "ended": True, "confidence": 1.0, "text": None}
            for n in range(count)
        ]  # fmt: skip
    return found


def made_up(strategies: dict[str, Any], right: dict[str, Any]) -> Comparable:
    settings = {"model": "m", "protocol": "balanced", "rows": 2, "columns": 2, "source": "s"}
    answers = questions(right)
    probes = ProbeRecords("probe", ("p",), settings, ("c",), table(strategies), tuple(strategies))
    benchmark = BenchmarkRecords("places", "own:q", False, ("e",), answers, [])
    return Comparable({"model": "m"}, (probes,), (benchmark,), (), tuple(answers))


def sees(item: int, cell: int, there: bool) -> bool:
    """Right, but for one cell in which every third picture is overlooked."""
    return there and not (cell == 3 and item % 3 == 0)


STRATEGIES = {
    "none": sees,
    "steady": lambda item, cell, there: there,
    "eager": lambda item, cell, there: True,
    "blind": lambda item, cell, there: (item * 7 + cell * 3) % 5 > 2,
}
KNOWS = {
    "none": lambda n: n % 10 > 0,
    "steady": lambda n: n % 10 > 4,
    "eager": lambda n: n % 10 > 0,
    "blind": lambda n: n % 2 == 0,
}


def test_always_yes_is_steady_and_stands_at_zero() -> None:
    found = compare(made_up(STRATEGIES, KNOWS), request("p", "e"))
    eager = of(found, "eager")
    assert eager.probes[0].flip_rate.estimate.value == 0  # nothing flips
    assert eager.probes[0].delta.estimate.value == 0  # and no cell differs
    assert eager.probes[0].hit_rate.estimate.value == 1
    assert eager.robustness.estimate.value == 0
    assert of(found, "blind").robustness.estimate.value == 0
    assert of(found, "none").robustness.estimate.value == pytest.approx(26 / 40)
    assert eager.verdict == "nearly always Yes"
    assert "few flips are no merit" in eager.sentence
    assert not eager.standing.on_front and "none" in eager.standing.dominated_by


def test_one_side_bought_with_the_other_is_said() -> None:
    found = compare(made_up(STRATEGIES, KNOWS), request("p", "e"))
    steady = of(found, "steady")
    assert steady.verdict == "robustness bought with awareness"
    assert steady.sentence.startswith("answers change less with place (flip rate -17.5 points, ")
    assert "and it is more often right at every place (+35.0 points, " in steady.sentence
    assert (
        ", but it knows less where things are (accuracy on places -40.0 points" in steady.sentence
    )
    # Each is surely better on one axis: both are on the front, and no interval leaves that open.
    for spec in ("none", "steady"):
        assert of(found, spec).standing.on_front and of(found, spec).standing.settled
    assert of(found, "blind").standing.dominated_by == ["none", "steady", "eager"]
    assert of(found, "blind").standing.settled
    turned = compare(made_up(STRATEGIES, KNOWS), request("p", "e", reference="steady"))
    assert of(turned, "none").verdict == "awareness bought with robustness"


def test_no_difference_is_called_no_more_than_that() -> None:
    def nearly(item: int, cell: int, there: bool) -> bool:
        return sees(item, cell, there) if item else there

    made = made_up({"none": sees, "same": nearly}, {"none": KNOWS["none"], "same": KNOWS["none"]})
    found = compare(made, request("p", "e"))
    same = of(found, "same")
    assert same.verdict == "no difference seen"
    assert same.sentence.startswith("no difference that the data shows (right at every place +2.5 ")
    assert "awareness 0.0 points, 0.0 to 0.0" in same.sentence
    assert not same.standing.settled and not of(found, "none").standing.settled


def test_all_right_has_an_exact_limit_and_no_interval_of_width_zero() -> None:
    always = {"none": lambda n: True}
    made = made_up({"none": STRATEGIES["steady"]}, always)
    found = compare(made, request("p", "e"))
    (one,) = found.interventions
    for side, trials in ((one.robustness, 40), (one.awareness, 80)):
        limit = 0.025 ** (1 / trials)  # Clopper and Pearson, all of so many
        assert side.estimate.value == side.estimate.high == 1
        expected = limit if side is one.robustness else 2 * limit - 1  # guessing is right in half
        assert side.estimate.low == pytest.approx(expected)
    assert one.standing.on_front and found.multiplicity.differences == 0


def test_the_same_benchmark_with_other_questions_is_refused(moved: str, asked: str) -> None:
    opened = open_folders([moved, asked])
    other = replace(opened, benchmarks=())
    assert other.tests().keys() == {"probe 1 x 2, pocket"}
    from wheresight.runs import comparable

    records = next(iter(opened.benchmarks[0].answers.values()))
    held = ("first", records)
    comparable._refuse_other_questions("b", held, [dict(r) for r in records], "second")  # type: ignore[misc]
    changed = [dict(records[0], right=1 - records[0]["right"] % 2), *records[1:]]
    with pytest.raises(RunError, match="asks other questions in 'second' than in 'first'"):
        comparable._refuse_other_questions("b", held, changed, "second")  # type: ignore[arg-type]
    with pytest.raises(RunError, match="only in part"):
        comparable._refuse_other_questions("b", held, records[1:], "second")
