"""An evaluation from the model's name to its numbers, gone on with, damaged, and made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wheresight.errors import RunError, SpecError, StimulusError
from wheresight.probes import evaluate as asking
from wheresight.report.evaluation.build import NO_BENCHMARK
from wheresight.runs import evaluate as running
from wheresight.runs.evaluate import (
    EvaluateRequest,
    fitted,
    read_records,
    run_evaluate,
    write_evaluation,
)
from wheresight.runs.evaluation_page import draw
from wheresight.runs.evaluation_results import Evaluation, json_schema, read
from wheresight.runs.places import open_place
from wheresight.runs.progress import Silent
from wheresight.runs.schema_page import schema_markdown

LOCALISATION = "localisation#items=3,grid=1x2,wording=bare"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for n, colour in enumerate(("red", "blue", "green")):
        Image.new("RGB", (40, 30), colour).save(folder / f"{n}.png")
        for answer, group in (("yes", "g"), ("no", "h")):
            rows.append({"image": f"{n}.png", "question": f"Is it {colour} {group}?",
                         "answer": answer, "group": f"{n}", "pair": f"{n}"})  # fmt: skip
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"own:{folder / 'q.jsonl'}"


def request(out: Path, own: str, **more: Any) -> EvaluateRequest:
    given = {"benchmarks": (LOCALISATION, own), "interventions": ("none", "bapa"),
             "device": "cpu", "replicates": 100, "max_new_tokens": 4, **more}  # fmt: skip
    return EvaluateRequest(out=str(out), **given)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, own: str) -> tuple[Path, Evaluation]:
    out = tmp_path_factory.mktemp("run") / "out"
    return out, run_evaluate(request(out, own))


def test_numbers_with_intervals_beside_baselines(done: tuple[Path, Evaluation]) -> None:
    out, found = done
    assert read(out) == found
    place, mine = found.benchmarks
    assert place.benchmark.startswith("localisation:pocket#canvas=96,grid=1x2,items=3,tile=48")
    assert (place.questions, mine.questions, mine.pictures) == (6, 6, 3)
    assert sum(place.category_questions.values()) == 6
    assert place.baselines.chance == 0.5 and place.baselines.majority == 0.5
    assert place.baselines.blind_under == "none" and place.baselines.blind
    none, bapa = place.interventions
    assert (none.intervention, bapa.intervention) == ("none", "bapa")
    readers = [entry.reader for entry in none.readers]
    assert readers == ["logp", "mean_logp", "exact", "strict", "first", "last", "published"]
    for entry, other in zip(none.readers, bapa.readers, strict=True):
        share = entry.accuracy
        assert share.low is not None and share.value is not None and share.high is not None
        assert 0 <= share.low <= share.value <= share.high <= 1
        assert entry.minus_first is None and other.minus_first is not None
        assert other.accuracy.value is not None
        assert other.minus_first.value == pytest.approx(other.accuracy.value - share.value)
        assert entry.sets is not None and entry.sets.complete == 3 and entry.pairs is None
        assert (entry.unread is None) == (entry.reader == "published")
    # One picture, one question, no image: each item is right in exactly one of its two cells.
    assert place.baselines.blind[0].accuracy.value == 0.5
    reader = mine.intervention("none").reader("logp")
    assert reader.yes_no is not None and reader.yes_no.balanced_accuracy.value is not None
    assert reader.pairs is not None and reader.pairs.complete == 3


def test_numbers_that_are_not_there_say_why(done: tuple[Path, Evaluation]) -> None:
    _, found = done
    for benchmark in found.benchmarks:
        for reader in benchmark.intervention("none").readers:
            for share in (reader.accuracy, reader.macro_accuracy, *reader.categories.values()):
                assert (share.reason is None) == (None not in (share.value, share.low, share.high))
    with pytest.raises(RunError, match="no benchmark '2ds'. It has: 'localisation"):
        found.benchmark("2ds")
    with pytest.raises(RunError, match="no intervention 'mca'"):
        found.benchmarks[0].intervention("mca")
    with pytest.raises(RunError, match="no reader 'letter'"):
        found.benchmarks[0].interventions[0].reader("letter")


def test_what_is_no_evaluation_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no evaluation file"):
        read(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"schema_version": 7}')
    with pytest.raises(RunError, match="schema version 7; this wheresight reads version 1"):
        read(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"schema_version": 1, "benchmarks": 3}')
    with pytest.raises(RunError, match="does not follow its schema"):
        read(tmp_path)


def test_every_field_is_described_and_the_page_is_current() -> None:
    for name, model in json_schema()["$defs"].items():
        for field, properties in model.get("properties", {}).items():
            assert "description" in properties, f"{name}.{field}"
    page = Path(__file__).parents[2] / "docs" / "evaluation_schema.md"
    assert page.read_text() == schema_markdown("evaluation")


def test_the_same_command_again_does_nothing_twice(
    done: tuple[Path, Evaluation], own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = done
    before = sorted(path.name for path in (out / "records").iterdir())
    assert len(before) == 2 * 3  # two interventions and the blind baseline of two benchmarks

    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("a model was loaded, and there was nothing to do")

    monkeypatch.setattr(running, "load_scorer", refuse)
    assert run_evaluate(request(out, own)) == found
    assert sorted(path.name for path in (out / "records").iterdir()) == before
    assert write_evaluation(open_place(out), Silent()) == found


def test_a_damaged_part_is_computed_again(
    done: tuple[Path, Evaluation], own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    out, found = done
    shutil.copytree(out, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock*"))
    part = sorted((tmp_path / "copy" / "records").iterdir())[0]
    whole = part.read_bytes()
    part.write_bytes(whole[:-9] + b"x" * 9)
    with pytest.raises(RunError, match="Records are missing"):
        write_evaluation(open_place(tmp_path / "copy"), Silent())
    asked: list[int] = []
    honest = asking.evaluate

    def counting(scorer: Any, benchmark: Any, specs: Any, **more: Any) -> Any:
        asked.append(len(benchmark.questions()) * len(specs))
        return honest(scorer, benchmark, specs, **more)

    monkeypatch.setattr(running, "evaluate", counting)
    again = run_evaluate(request(tmp_path / "copy", own))
    assert asked == [6]  # one shard, one intervention
    assert again.benchmarks == found.benchmarks
    assert part.read_bytes() == whole  # the same work gives the same bytes


def test_a_control_beside_its_benchmark_and_sets_counted_as_published(tmp_path: Path) -> None:
    # The mirror image of a cell is a cell, so answers change in the outer columns alone.
    plain = "localisation#items=4,grid=1x3,wording=bare"
    part = "localisation#items=4,grid=1x3,wording=bare,part=adaptvis-test"
    found = run_evaluate(
        request(tmp_path, "", benchmarks=(f"{plain},control=mirror", part, plain),
                max_new_tokens=0, blind=False)
    )  # fmt: skip
    turned, some, whole = found.benchmarks
    assert (turned.control, turned.plain) == ("mirror", whole.benchmark)
    assert (whole.control, whole.plain, some.control) == (None, None, None)
    for answers, ours in zip(turned.interventions, whole.interventions, strict=True):
        for reader, own in zip(answers.readers, ours.readers, strict=True):
            beside = reader.agreement
            assert beside is not None and own.agreement is None
            assert (beside.questions, beside.answer_changes, beside.answer_stays) == (12, 8, 4)
            assert beside.options_move == 0 and beside.same_place.reason is not None
            right = (beside.right_both.value or 0) + (beside.right_plain_only.value or 0)
            assert right == pytest.approx(own.accuracy.value)
            shares = (beside.followed, beside.stayed, beside.otherwise)
            assert sum(share.value or 0 for share in shares) == pytest.approx(1)
    one, all_sets = some.interventions[0].readers[0].sets, whole.interventions[0].readers[0].sets
    assert one is not None and all_sets is not None and one.value is not None
    assert (all_sets.complete, some.questions) == (4, 10)
    assert one.complete + one.incomplete == 4 and 0 < one.incomplete < 4
    # What was cut counts as wrong there, and not at all with us.
    assert one.published_share == pytest.approx(one.value * one.complete / (10 / 3))
    assert all_sets.published_share == all_sets.value


def test_the_page_takes_its_pictures_from_the_benchmarks_that_were_asked(
    done: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    out, found = done
    wrong = read_records(open_place(out))
    for record in wrong:  # so that there is something to show, whatever the model knows
        record["logp"] = [float(n != record["right"]) for n in range(len(record["options"]))]
    prints = json.loads((out / "evaluate.json").read_text())["fingerprints"]
    assert set(prints) == {entry.benchmark for entry in found.benchmarks}
    place = open_place(tmp_path / "page")
    draw(place, found, wrong, prints)
    page = (tmp_path / "page" / "evaluation.html").read_text()
    assert page.count("The picture that the question is about") == 4  # two of each benchmark
    assert NO_BENCHMARK not in page
    draw(place, found, wrong, dict.fromkeys(prints, "another"))
    page = (tmp_path / "page" / "evaluation.html").read_text()
    assert page.count(NO_BENCHMARK) == 2 and "data:image/webp" not in page


def test_a_batch_size_is_found_written_down_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def find(scorer: Any, ask: Any, most: int) -> int:
        for count in (1, 4, most):
            ask(count)
            tried.append(count)
        scorer.set_batch_size(5)
        return 5

    monkeypatch.setattr("wheresight.lvlm.batch_size.find_batch_size", find)
    auto = {"benchmarks": (LOCALISATION,), "interventions": ("none",), "batch_size": "auto"}
    found = run_evaluate(request(tmp_path / "out", "", **auto))
    assert tried == [1, 4, 6] and found.environment is not None
    hardware = found.environment.hardware
    assert (hardware["batch_size"], hardware["batch_size_given_as"]) == (5, "auto")
    next((tmp_path / "out" / "records").iterdir()).unlink()
    again = run_evaluate(request(tmp_path / "out", "", **auto))
    assert tried == [1, 4, 6] and again.benchmarks == found.benchmarks
    with pytest.raises(RunError, match="batch size 0 was given; expected 1 or more, or auto"):
        run_evaluate(request(tmp_path / "bad", "", batch_size=0))


def test_records_are_in_parquet_with_the_raw_text(done: tuple[Path, Evaluation]) -> None:
    import duckdb

    out, _ = done
    rows = duckdb.sql(
        f"SELECT intervention, control, count(*), count(text), max(len(logp)) "
        f"FROM '{out}/records/*.parquet' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert rows == [("bapa", "", 12, 12, 2), ("none", "", 12, 12, 2), ("none", "blank", 12, 12, 2)]
    (logp,) = duckdb.sql(f"SELECT max(list_max(logp)) FROM '{out}/records/*.parquet'").fetchall()[0]
    assert np.isfinite(logp) and logp <= 0


def test_what_is_refused_before_a_model_loads(
    tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("a model was loaded for nothing")

    monkeypatch.setattr(running, "load_scorer", refuse)
    with pytest.raises(SpecError, match="Did you mean"):
        run_evaluate(request(tmp_path / "a", own, interventions=("bapaa",)))
    with pytest.raises(SpecError):
        run_evaluate(request(tmp_path / "a", own, interventions=("circle",)))  # needs M-RoPE
    with pytest.raises(StimulusError, match="whatsup_vlms"):
        run_evaluate(request(tmp_path / "a", own, benchmarks=(f"whatsup-a:{tmp_path}",)))
    with pytest.raises(RunError, match="at least one of each"):
        run_evaluate(request(tmp_path / "a", own, benchmarks=()))
    with pytest.raises(RunError, match="0 \\(generate nothing\\)"):
        run_evaluate(request(tmp_path / "a", own, max_new_tokens=-1))
    assert not (tmp_path / "a").exists() or not any((tmp_path / "a").iterdir())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="holds no evaluation"):
        run_evaluate(request(tmp_path / "b", own))
    bad = tmp_path / "q.jsonl"
    (tmp_path / "a.png").write_bytes(b"no picture")
    bad.write_text(json.dumps({"image": "a.png", "question": "?", "answer": "yes"}))
    with pytest.raises(StimulusError, match=r"a\.png"):
        run_evaluate(request(tmp_path / "c", own, benchmarks=(f"own:{bad}",)))


def test_localisation_gets_the_probes_canvas() -> None:
    assert fitted("localisation", 96) == "localisation#canvas=96,tile=32"
    assert fitted("localisation#items=5,grid=2x4", 96).endswith("grid=2x4,canvas=96,tile=24")
    assert fitted("localisation:pocket#canvas=50", 96) == "localisation:pocket#canvas=50"
    assert fitted("localisation#layout=insert", 96) == "localisation#layout=insert,canvas=96"
    assert fitted("localisation", None) == "localisation" and fitted("2ds", 96) == "2ds"
