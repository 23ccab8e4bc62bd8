"""`run_diagnose`: records by content, resume, and everything made again from them alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from wheresight.errors import RunError, SpecError
from wheresight.interventions.host import Host
from wheresight.probes import registry
from wheresight.probes.bench import Bench
from wheresight.probes.diagnostic import (
    Column,
    Columns,
    Context,
    Diagnostic,
    Finding,
    Records,
)
from wheresight.runs.diagnose import DiagnoseRequest, run_diagnose
from wheresight.runs.diagnose_findings import redraw
from wheresight.runs.diagnosis import Diagnosis
from wheresight.runs.diagnostic_records import table_of

SMALL = dict(grid="1x2", replicates=100, tools=("understanding:items=3",))


def request(out: Path, **changes: object) -> DiagnoseRequest:
    return DiagnoseRequest(out=str(out), **{**SMALL, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Count(Diagnostic):
    """Counts items; knows no model."""

    name: ClassVar[str] = "count"
    title: ClassVar[str] = "Count"
    question: ClassVar[str] = "How many?"
    columns: ClassVar[Mapping[str, Column]] = {
        "key": Column("string", "Key."),
        "number": Column("int32", "Number."),
        "some": Column("list<float32>", "Lists of any length."),
        "unknown": Column("float64", "NaN."),
    }

    items: int = 2

    def refuses(self, host: Host) -> str | None:
        return "It counts no more than 3." if self.items > 3 else None

    def steps(self, bench: Bench) -> int:
        return len(bench.items)

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        advance(len(bench.items))
        number = np.arange(len(bench.items))
        lists = [np.arange(n, dtype=float) for n in range(len(bench.items))]
        keys = [item.key for item in bench.items]
        return {"key": keys, "number": number, "some": lists, "unknown": number * np.nan}

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        return [
            Finding("count", "Items", float(len(t["key"])), intervention=spec, note="No interval.")
            for spec, t in tables.items()
        ]


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "count", f"{__name__}:Count")
    monkeypatch.setattr(registry, "diagnostic_class", _find(registry.diagnostic_class))


def _find(other: Callable[[str], type[Diagnostic]]) -> Callable[[str], type[Diagnostic]]:
    return lambda name: Count if name == "count" else other(name)


def test_records_findings_and_page(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_diagnose(request(out), command=["wheresight", "diagnose"])
    assert done.computed == 1
    assert done.report == (out / "diagnostics.html").resolve().as_uri()
    found = Diagnosis.model_validate_json((out / "findings.json").read_text())
    assert found == done.diagnosis
    assert found.command == "wheresight diagnose"
    (entry,) = found.diagnostics
    assert entry.options == {"items": 3}
    assert entry.records == {"none": f"records/{next((out / 'records').iterdir()).name}"}
    assert found.bootstrap.clusters == 3
    assert found.environment is not None
    page = (out / "diagnostics.html").read_text()
    assert page.count("<figure>") == len(list((out / "figures").glob("*.svg"))) == 1


def test_what_is_there_is_not_computed_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_diagnose(request(out)).computed == 1
    (part,) = (out / "records").iterdir()
    before = part.read_bytes()
    assert run_diagnose(request(out)).computed == 0
    more = run_diagnose(request(out, interventions=("none", "multilayer:layers=6", "none")))
    assert more.computed == 1
    assert more.diagnosis.diagnostics[0].interventions == ["none", "multilayer:layers=6"]
    assert any(f.versus == "none" for f in more.diagnosis.diagnostics[0].findings)
    # Everything that decides a record is in its name.
    for change in ({"seed": 1}, {"grid": "2x1"}, {"tools": ("understanding:items=4",)}):
        assert run_diagnose(request(out, **change)).computed == 1
    assert run_diagnose(request(out)).computed == 0
    assert part.read_bytes() == before


def test_a_damaged_file_is_set_aside_and_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run_diagnose(request(out)).diagnosis
    (part,) = (out / "records").iterdir()
    whole = part.read_bytes()
    part.write_bytes(whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:])
    with pytest.raises(RunError, match="are damaged"):
        redraw(str(out))
    again = run_diagnose(request(out))
    assert again.computed == 1
    assert part.with_name(part.name + ".damaged").exists()
    assert again.diagnosis.diagnostics[0].findings == first.diagnostics[0].findings


def test_all_is_made_again_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    first = run_diagnose(request(out)).diagnosis
    drawn = {p.name: p.read_bytes() for p in (out / "figures").iterdir()}
    for name in ("findings.json", "diagnostics.html"):
        (out / name).unlink()
    monkeypatch.setattr("wheresight.lvlm.loading.load", None)
    again, _ = redraw(str(out))
    assert again == first
    assert {p.name: p.read_bytes() for p in (out / "figures").iterdir()} == drawn


def test_items_and_protocol_are_for_those_who_have_and_do_not_set_them() -> None:
    tools = registry.diagnostics(
        ["understanding", "psi:items=5", "erasure"], items=7, protocol="paper"
    )
    assert [str(tool) for tool in tools] == [
        "understanding:items=7",
        "psi:items=5,protocol=paper",
        "erasure:items=7",
    ]
    with pytest.raises(SpecError, match="'psi' is asked for twice"):
        registry.diagnostics(["psi", "psi:items=5"])
    assert {tool.name for tool in registry.diagnostics([])} == set(registry.known_diagnostics())


def test_a_benchmark_is_for_those_who_ask_one() -> None:
    tools = registry.diagnostics(["norms", "psi", "alignment:benchmark=own:t.csv"], benchmark="2ds")
    assert [tool.asks_benchmark for tool in tools] == ["", "2ds", "own:t.csv"]
    assert str(tools[1]) == "psi:benchmark=2ds"
    with pytest.raises(SpecError, match="Those that do are alignment, psi, compression"):
        registry.diagnostics(["norms"], benchmark="2ds")
    with pytest.raises(SpecError, match="is given on its own, with --benchmark"):
        registry.diagnostics(["psi:benchmark=2ds#images=2,variant=small_models"])


def own_table(folder: Path, boxes: list[list[int]]) -> str:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (96, 96), "red").save(folder / "red.png")
    rows = [
        {"image": "red.png", "question": "What is it?", "cluster": str(n), "boxes": boxes,
         "options": ["red", "blue"], "answer": answer}
        for n, answer in enumerate(("red", "blue", "red"))
    ]  # fmt: skip
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return f"own:{folder / 'own.jsonl'}"


def test_questions_of_a_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, spec = tmp_path / "out", "2ds#images=3,variant=small_models,wording=bare"
    tools = ("alignment", "psi:draws=1")
    done = run_diagnose(request(out, tools=tools, benchmark=spec)).diagnosis
    assert [entry.options["benchmark"] for entry in done.diagnostics] == [spec, spec]
    assert done.bootstrap.clusters == 3
    right = [f.estimate.value for e in done.diagnostics for f in e.findings
             if f.name in ("correct", "accuracy")]  # fmt: skip
    assert right[0] == right[1]  # both ask the same
    assert run_diagnose(request(out, tools=tools, benchmark=spec)).computed == 0
    monkeypatch.setattr("wheresight.lvlm.loading.load", None)
    assert redraw(str(out))[0].diagnostics == done.diagnostics  # a spec with commas survives


def test_a_benchmark_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = dict(tools=("alignment",), benchmark=own_table(tmp_path / "own", [[0, 0, 48, 48]]))
    assert run_diagnose(request(out, **small)).computed == 1
    assert run_diagnose(request(out, **small)).computed == 0
    own_table(tmp_path / "own", [[0, 0, 96, 48]])  # nothing else has changed
    assert run_diagnose(request(out, **small)).computed == 1
    own_table(tmp_path / "own", [])
    with pytest.raises(SpecError, match="'alignment' cannot be run on this benchmark. No question"):
        run_diagnose(request(out, **small))


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds no diagnostics of wheresight"):
        run_diagnose(request(tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(RunError, match="holds no diagnostics"):
        redraw(str(tmp_path / "nothing"))


def test_what_cannot_be_run_is_refused_by_name_and_left_out_of_all(
    tmp_path: Path, count: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match="'count' cannot be run on this model. It counts no more"):
        run_diagnose(request(tmp_path / "a", tools=("count:items=4",)))
    with pytest.raises(SpecError, match="layers"):
        run_diagnose(request(tmp_path / "a", tools=("count",), interventions=("bapa:layers=7",)))
    monkeypatch.setattr(registry, "BUILT_IN", {"count": f"{__name__}:Count"})
    done = run_diagnose(request(tmp_path / "b", tools=(), items=4)).diagnosis
    assert done.diagnostics == []
    assert done.left_out == ["count: It counts no more than 3."]
    done = run_diagnose(
        request(tmp_path / "c", tools=(), interventions=("none", "bapa:layers=7"))
    ).diagnosis
    assert done.diagnostics[0].interventions == ["none"]
    assert "layers" in done.diagnostics[0].left_out[0]


def test_a_diagnostic_of_any_columns_survives_its_records(tmp_path: Path, count: None) -> None:
    done = run_diagnose(request(tmp_path, tools=("count:items=3",))).diagnosis
    (number,) = done.diagnostics[0].findings
    assert number.estimate.value == 3
    assert number.estimate.reason == "No interval."
    assert json.loads((tmp_path / "diagnose.json").read_text())["diagnostics"][0]["spec"] == (
        "count:items=3"
    )


def test_what_was_finished_before_a_run_broke_is_kept(
    tmp_path: Path, count: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = request(tmp_path, tools=("understanding:items=2", "count"))

    def broken(*_: object) -> Columns:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Count, "measure", broken)
        with pytest.raises(KeyboardInterrupt):
            run_diagnose(both)
    (kept,) = (tmp_path / "records").iterdir()
    assert kept.name.startswith("understanding-")
    assert run_diagnose(both).computed == 1
    assert kept.exists()


def test_records_that_do_not_fit_are_a_fault_of_the_diagnostic() -> None:
    tool = Count()
    good = {"key": ["a"], "number": [1], "some": [[1.0]], "unknown": [None]}
    table = table_of(tool, good)
    assert table.schema.field("number").metadata[b"meaning"] == b"Number."
    with pytest.raises(RunError, match="returned the columns"):
        table_of(tool, {"key": ["a"]})
    with pytest.raises(RunError, match="do not fit its columns"):
        table_of(tool, {**good, "number": ["many"]})
    with pytest.raises(RunError, match="do not fit its columns"):
        table_of(tool, {**good, "number": [1, 2]})


def test_bad_requests(tmp_path: Path) -> None:
    good = request(tmp_path)
    with pytest.raises(RunError, match="No intervention was given"):
        run_diagnose(replace(good, interventions=()))
    with pytest.raises(RunError, match="at least 100"):
        run_diagnose(replace(good, replicates=5))
    with pytest.raises(SpecError, match="Unknown diagnostic 'erazure'. Did you mean 'erasure'"):
        run_diagnose(replace(good, tools=("erazure",)))
    with pytest.raises(SpecError, match="Unknown parameter of 'psi' 'draw'. Did you mean 'draws'"):
        run_diagnose(replace(good, tools=("psi:draw=2",)))
    assert list(tmp_path.iterdir()) == []


TINY = (
    "understanding:items=2",
    "erasure:masks=3,items=1",
    "psi:items=1,draws=1",
    "compression:items=1,sides=1",
    "origin:items=2",
)


def test_every_experiment_draws_its_pictures_however_few_the_items(tmp_path: Path) -> None:
    done = run_diagnose(
        request(tmp_path, tools=TINY, interventions=("none", "bapa"), protocol="paper")
    ).diagnosis
    assert [entry.name for entry in done.diagnostics] == [t.partition(":")[0] for t in TINY]
    page = (tmp_path / "diagnostics.html").read_text()
    for entry in done.diagnostics:
        pictures = list((tmp_path / "figures").glob(f"{entry.name}-*.png"))
        assert pictures
        for picture in pictures:
            with Image.open(picture) as drawn:
                assert len(drawn.convert("L").getcolors() or []) > 10
        assert f'<section id="{entry.name}"' in page
        assert {f.intervention for f in entry.findings} <= {"none", "bapa"}
    assert done.diagnostics[-1].interventions == ["none"]  # it chooses its own
    assert page.count('alt=""') == 0
