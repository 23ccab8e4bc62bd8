"""The same command again: equal records, no model work; also after SIGKILL or damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pytest

from warm_commands import wheresight
from wheresight.errors import RunError
from wheresight.runs.overlap import without_overlap
from wheresight.runs.store import RunFolder

ITEMS = 40  # four units an intervention


def asked(out: Path, *more: str) -> list[str]:
    probe = ["probe", "--model", "pocket", "--out", str(out), "--items", str(ITEMS)]
    return [*probe, "-i", "none", "-i", "bapa", "--replicates", "100", *more]


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "wheresight", *asked(out, *more)]


def run(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    done = wheresight(*asked(out, *more))
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run(out)
    return out, RunFolder(out).read()


def test_every_question_has_one_record(undisturbed: tuple[Path, pa.Table]) -> None:
    _, records = undisturbed
    named = zip(
        *(records[c].to_pylist() for c in ("item", "cell", "question", "intervention")), strict=True
    )
    assert len(set(named)) == records.num_rows
    assert len(records["item"].unique()) == ITEMS
    assert sorted(records["cell"].unique().to_pylist()) == list(range(9))
    assert records.num_rows >= ITEMS * 9 * 2 * 2


def test_a_second_run_does_no_model_work(undisturbed: tuple[Path, pa.Table]) -> None:
    out, records = undisturbed
    parts = {f: f.stat().st_mtime_ns for f in (out / "records").iterdir()}
    said = run(out).stdout
    assert "Loading" not in said
    assert {f: f.stat().st_mtime_ns for f in (out / "records").iterdir()} == parts
    assert RunFolder(out).read().equals(records)


def test_killed_in_the_middle_and_repeated(
    undisturbed: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(out.glob("records/*.parquet"))) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list(out.glob("records/*.parquet"))
    assert 2 <= len(left) < 8
    said = run(out).stdout
    assert "Loading" in said
    assert RunFolder(out).read().equals(undisturbed[1])


def test_a_damaged_part_is_named_and_computed_again(undisturbed: tuple[Path, pa.Table]) -> None:
    out, records = undisturbed
    part = sorted((out / "records").glob("*.parquet"))[1]
    part.write_bytes(part.read_bytes()[:-100])
    report = subprocess.run(
        [sys.executable, "-m", "wheresight", "report", str(out)], capture_output=True, text=True
    )
    assert report.returncode == 2
    assert part.name in report.stderr
    said = run(out, "--replicates", "100").stdout.replace("\n", " ")
    assert "is damaged; it is set aside and computed again" in said
    assert RunFolder(out).read().equals(records)


def test_more_items_reuse_what_is_there(undisturbed: tuple[Path, pa.Table], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, "--items", "20")
    first = {f.name for f in (out / "records").iterdir()}
    run(out)
    assert first <= {f.name for f in (out / "records").iterdir()}
    assert RunFolder(out).read().equals(undisturbed[1])


def test_a_run_may_grow_from_any_number_of_items_and_not_shrink(
    undisturbed: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    _, records = undisturbed
    out = tmp_path / "run"
    run(out, "--items", "3")
    run(out, "--items", "14")  # a unit of ten, of which three are there, and one of four
    found = RunFolder(out).read()
    kept = pyarrow.compute.is_in(records["item"], found["item"].unique())
    same = ["item", "cell", "question", "intervention", "recipe", "caption"]
    assert found.select(same).equals(records.filter(kept).select(same))
    assert len(found["item"].unique()) == 14
    assert "14 items" in (out / "report.html").read_text()
    fewer = wheresight(*asked(out, "--items", "13"))
    assert fewer.returncode == 2 and "holds a run of 14 items, and 13" in fewer.stderr
    assert RunFolder(out).read().equals(found)


def test_units_that_disagree_about_an_item_are_refused(
    undisturbed: tuple[Path, pa.Table],
) -> None:
    _, records = undisturbed
    one = records.filter(pyarrow.compute.equal(records["intervention"], "none"))
    few = one.filter(pyarrow.compute.equal(one["item"], one["item"][0]))
    assert sum(t.num_rows for t in without_overlap({"a": few, "b": one})) == one.num_rows
    index = few.schema.get_field_index("caption")
    other = few.set_column(index, few.schema.field(index), pa.array(["x"] * few.num_rows))
    with pytest.raises(RunError, match="other pictures or captions"):
        list(without_overlap({"a": other, "b": one}))


def test_one_thread_or_two_and_batches_of_any_size_agree(
    undisturbed: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    _, records = undisturbed
    subprocess.run(
        command(tmp_path / "run", "--items", "10", "--batch-size", "7"),
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},  # the others have one
    )
    few = RunFolder(tmp_path / "run").read()
    kept = records.filter(pa.compute.is_in(records["item"], few["item"].unique()))
    assert kept.num_rows == few.num_rows
    for column in ("item", "cell", "question", "intervention", "answer", "argmax_id", "recipe"):
        assert kept[column].equals(few[column]), column
    near = [
        a - b for a, b in zip(kept["margin"].to_pylist(), few["margin"].to_pylist(), strict=True)
    ]
    assert max(map(abs, near)) < 2e-4


def test_the_report_needs_no_model(undisturbed: tuple[Path, pa.Table]) -> None:
    out, _ = undisturbed
    code = (
        "import sys; sys.argv = ['wheresight', 'report', sys.argv[1], '--replicates', '100']\n"
        "from wheresight.cli.main import app\n"
        "try: app()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "print('MODEL', [m for m in ('torch', 'transformers') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True)
    assert "MODEL []" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    results = json.loads((out / "results.json").read_text())
    assert {i["intervention"] for i in results["interventions"]} == {"none", "bapa"}
