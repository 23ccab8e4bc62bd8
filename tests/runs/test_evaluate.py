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
from wheresight.runs import evaluate as running
from wheresight.runs.evaluate import EvaluateRequest, fitted, run_evaluate, write_evaluation
from wheresight.runs.places import open_place
from wheresight.runs.progress import Silent

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
def done(tmp_path_factory: pytest.TempPathFactory, own: str) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("run") / "out"
    return out, run_evaluate(request(out, own))


def test_numbers_with_intervals_beside_baselines(done: tuple[Path, dict[str, Any]]) -> None:
    out, found = done
    assert json.loads((out / "evaluation.json").read_text()) == found
    place, mine = found["benchmarks"]
    assert place["benchmark"].startswith("localisation:pocket#canvas=96,grid=1x2,items=3,tile=48")
    assert (place["questions"], mine["questions"], mine["pictures"]) == (6, 6, 3)
    assert place["baselines"]["chance"] == 0.5 and place["baselines"]["majority"] == 0.5
    assert place["baselines"]["blind_under"] == "none"
    none, bapa = place["interventions"]
    assert (none["intervention"], bapa["intervention"]) == ("none", "bapa")
    readers = [entry["reader"] for entry in none["readers"]]
    assert readers == ["logp", "mean_logp", "exact", "strict", "first", "last", "published"]
    for entry, other in zip(none["readers"], bapa["readers"], strict=True):
        share = entry["accuracy"]
        assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
        assert other["minus_first"]["value"] == pytest.approx(
            other["accuracy"]["value"] - share["value"]
        )
        assert entry["sets"]["complete"] == 3 and entry["pairs"] is None
    assert none["readers"][0]["accuracy"]["value"] > 0.8  # the model knows left from right
    # One picture, one question, no image: each item is right in exactly one of its two cells.
    assert place["baselines"]["blind"][0]["accuracy"]["value"] == 0.5
    yes_no = mine["interventions"][0]["readers"][0]["yes_no"]
    assert set(yes_no) >= {"accuracy", "balanced_accuracy", "f1", "harmonic"}
    assert mine["interventions"][0]["readers"][0]["pairs"]["complete"] == 3


def test_the_same_command_again_does_nothing_twice(
    done: tuple[Path, dict[str, Any]], own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = done
    before = sorted(path.name for path in (out / "records").iterdir())
    assert len(before) == 2 * 3  # two interventions and the blind baseline of two benchmarks

    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("a model was loaded, and there was nothing to do")

    monkeypatch.setattr(running, "_load", refuse)
    assert run_evaluate(request(out, own)) == found
    assert sorted(path.name for path in (out / "records").iterdir()) == before
    assert write_evaluation(open_place(out), Silent()) == found


def test_a_damaged_part_is_computed_again(
    done: tuple[Path, dict[str, Any]], own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    for one, other in zip(again["benchmarks"], found["benchmarks"], strict=True):
        assert one["interventions"][0]["readers"] == other["interventions"][0]["readers"]
        assert one["baselines"] == other["baselines"]
    assert part.read_bytes() == whole  # the same work gives the same bytes


def test_records_are_in_parquet_with_the_raw_text(done: tuple[Path, dict[str, Any]]) -> None:
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

    monkeypatch.setattr(running, "_load", refuse)
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
