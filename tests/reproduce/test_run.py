"""`wheresight reproduce`: readings, the plan, and runs on the pocket model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warm_commands import wheresight
from wheresight.cli.main import app
from wheresight.errors import RunError
from wheresight.reproduce import entries, entry
from wheresight.reproduce.entry import Claim, Contrast, Reading
from wheresight.reproduce.numerals import digits, interval
from wheresight.reproduce.reading import Number, follow, lines, verdict
from wheresight.reproduce.run import job
from wheresight.runs.results import read as read_results


def finding(where: dict[str, int], versus: str | None, *numbers: float | None) -> dict[str, object]:
    """A finding as findings.json has it."""
    estimate = dict(zip(("value", "low", "high"), numbers, strict=True))
    return {"name": "psi", "where": where, "versus": versus, "estimate": estimate}


DOCUMENT = {
    "found": [
        finding({}, None, 0.25, 0.1, 0.4),
        finding({"cell": 3}, None, 1, None, None),
        finding({}, "none", -0.5, -1, 0.1),
    ],
    "plain": 3.0,
    "list": [1.0, 2.0],
}


def test_one_element_is_found_by_its_fields() -> None:
    whole = follow(DOCUMENT, ("found", {"name": "psi", "where": None, "versus": None}), {})
    assert whole["estimate"]["value"] == 0.25
    of_cell = ("found", {"name": "{row}", "where.cell": "{column}"}, "estimate", "value")
    assert follow(DOCUMENT, of_cell, {"row": "psi", "column": "3"}) == 1
    assert follow(DOCUMENT, ("list", "1"), {}) == 2.0
    with pytest.raises(RunError, match=r"3 elements of the file fit"):
        follow(DOCUMENT, ("found", {"name": "psi"}), {})
    with pytest.raises(RunError, match="no 'absent'"):
        follow(DOCUMENT, ("absent",), {})


def test_readings_fill_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(DOCUMENT))
    difference = ("found", {"versus": "{column}"}, "estimate")
    reads = [
        Reading(document="a.json", rows={"x": ""}, columns={"p": "plain"}, path=("{column}",)),
        Reading(
            document="a.json", rows={"x": ""}, columns={"d": "none"}, path=difference, scale=100
        ),
    ]
    (line,) = lines(reads, tmp_path, {})
    assert line.values == {"p": Number(value=3), "d": Number(value=-50, low=-100, high=10)}
    with pytest.raises(RunError, match="is not there"):
        lines([reads[0].model_copy(update={"document": "b.json"})], tmp_path, {})


@pytest.mark.parametrize(
    ("low", "high", "sign", "said"),
    [(1, 2, "+", "yes"), (-2, -1, "+", "no"), (-1, 1, "+", "not shown"), (-2, -1, "-", "yes"),
     (1, 2, "-", "no"), (None, None, "+", "not shown")],
)  # fmt: skip
def test_a_statement_needs_its_whole_interval(low, high, sign, said) -> None:
    assert verdict(Number(value=0.0, low=low, high=high), sign) == said


def test_numbers_as_text() -> None:
    assert [digits(x) for x in (0.00726, 82.04, 1234.5, 0)] == ["0.0073", "82.04", "1,234", "0.00"]
    assert interval(Number(value=-1, low=-2, high=0.5), sign=True) == "-1.00 (-2.00 to +0.50)"
    assert interval(Number(value=None)) == "-"


def test_what_is_needed_is_asked_for_before_anything_runs() -> None:
    with pytest.raises(RunError, match="needs --set source="):
        job(entry("bias/table1"), "some/model", "x", {})
    with pytest.raises(RunError, match="has no 'itmes' to set"):
        job(entry("bias/table1"), "pocket", "x", {"itmes": "3"})
    with pytest.raises(RunError, match="It is a drawing"):
        job(entry("bias/figure4"), "pocket", "x", {})
    one = job(entry("bias/table1"), "some/model", "x", {"source": "folder:y", "items": "7"})
    (command,) = one.commands
    assert command[: command.index("--items") + 2] == [
        "probe", "--model", "some/model", "--source", "folder:y", "--items", "7",
    ]  # fmt: skip
    lora = job(entry("bias/table4"), "google/gemma-3-12b-it", "x", {"data": "d", "images": "i"})
    assert "gemma3" in lora.commands[0]  # its own preset
    with pytest.raises(RunError, match="needs --set preset="):
        job(entry("bias/table4"), "some/model", "x", {"data": "d", "images": "i"})
    assert command[-1] == str(Path("x/bias/table1/model/probe"))


def test_all_that_can_run_on_the_pocket_model_is_ready() -> None:
    ready = [one for one in entries().values() if (work := one.work(True)) and work.commands]
    assert len(ready) >= 20
    for one in ready:
        for words in job(one, "pocket", "x", {}).commands:
            assert not any("{" in word for word in words if not word.startswith("scalingvis"))


def test_the_list_and_an_entry_are_shown_without_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom wheresight.cli.main import app\n"
        "for words in (['reproduce'], ['reproduce', 'bias/table1'], ['reproduce', '--json']):\n"
        "    done = CliRunner().invoke(app, words)\n"
        "    assert done.exit_code == 0, done.output\n    print(done.output)\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    for said in ("0.82*", "82.04 is right", "google/gemma-3-12b-it", "awareness/psi", "54.9"):
        assert said in done.stdout, said


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, bool]:
    """Table 1 on the pocket model, small, as from a shell, twice: its folder, what it said the
    second time, and whether that left all records as they were."""
    out = tmp_path_factory.mktemp("reproduced")
    words = ["reproduce", "bias/table1", "--model", "pocket", "--set", "items=2", "-o", str(out)]
    said, written = "", []
    for _ in range(2):
        done = wheresight(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout
        parts = (out / "bias" / "table1" / "pocket" / "probe").rglob("*.parquet")
        written.append({part.name: part.stat().st_mtime_ns for part in parts})
    return out / "bias" / "table1" / "pocket", said, bool(written[0]) and written[0] == written[1]


def test_what_is_read_is_what_the_probe_found(reproduced: tuple[Path, str, bool]) -> None:
    folder, _, _ = reproduced
    found = json.loads((folder / "reproduced.json").read_text())
    results = read_results(folder / "probe")
    assert [line["label"] for line in found["ours"]] == ["none", "bapa"]
    for line, one in zip(found["ours"], results.interventions, strict=True):
        assert list(line["values"]) == [*map(str, range(9)), "Avg", "Delta"]
        for cell in one.cells:
            assert line["values"][str(cell.cell)]["value"] == 100 * cell.hit_rate.value
        assert line["values"]["Delta"]["value"] == one.overall.spread.delta.value
    (comparison,) = results.comparisons
    assert found["claims"][0]["ours"]["value"] == comparison.overall.spread.average.value
    assert found["claims"][0]["published"] == "4 of 5 models"
    assert found["caution"] and found["entry"]["name"] == "bias/table1"
    assert found["commands"][0].startswith("wheresight probe --model pocket")
    assert results.counts.items == 2


def test_it_is_printed_side_by_side_and_goes_on(reproduced: tuple[Path, str, bool]) -> None:
    folder, said, went_on = reproduced
    for text in ("Printed", "Ours, pocket", "Gemma3-BaPA", "Statements", "4 of 5 models", "toy"):
        assert text in said, text
    assert went_on
    page = (folder / "reproduced.md").read_text()
    assert "## Ours: pocket" in page and "82.04 is right" in page and "| bapa |" in page


def test_a_command_that_fails_says_so(tmp_path: Path) -> None:
    words = [
        "reproduce",
        "scaling/settings",
        "--model",
        "pocket",
        "--set",
        "benchmark=2ds#images=0",
    ]
    done = wheresight(*words, "-o", str(tmp_path))
    assert done.returncode == 2
    assert "ended with exit code 2" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reproduce", "bias/tabel1"], "Did you mean 'bias/table1'"),
        (["reproduce", "--plan"], "No table or figure was named"),
        (["reproduce", "bias/table1", "--plan", "--model", "pocket"], "Both --model and --plan"),
        (
            ["reproduce", "bias/table1", "--model", "pocket", "--set", "items"],
            "expected NAME=VALUE",
        ),
    ],
)
def test_bad_calls_are_one_sentence(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, RunError) and said in str(done.exception)


def test_a_plan_counts_a_models_arithmetic() -> None:
    from wheresight.reproduce import plan

    quarter = plan.shape("skeleton:llava-1.5-7b-quarter")
    # 8 layers of width 1024 with a feed-forward layer of 2752 and a projector of 256 to 1024.
    layer = 4 * 1024**2 + 3 * 1024 * 2752
    assert quarter.tokens > 576
    attention = 4 * 8 * 1024 * quarter.tokens**2
    norms = 2 * 1024 * 8 + 1024
    assert quarter.language == pytest.approx(2 * (8 * layer + norms) * quarter.tokens + attention)
    assert quarter.cache_bytes == 2 * 8 * 1024 * 2 * quarter.tokens


def test_plans_grow_with_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from wheresight.reproduce import plan
    from wheresight.runs.progress import Silent

    made = plan.Shape(tokens=100, tower=1e12, language=3e12, parameters=10**9, cache_bytes=10**6)
    monkeypatch.setattr(plan, "shape", lambda skeleton: made)
    monkeypatch.setattr(plan, "_shapes", {})
    monkeypatch.setattr(plan, "measured", lambda: ("one device", 1e13, 16 * 10**9))
    chosen = [
        entry(name) for name in ("bias/table1", "bias/figure1", "bias/figure3", "bias/table4")
    ]
    whole, half, tower, training = plan.plans([*chosen, entry("bias/figure4")], Silent())
    first = whole.models[0]
    assert first.seconds_low == pytest.approx(180_000 * 4e12 / 1e13)
    assert half.models[0].seconds_low == pytest.approx(first.seconds_low / 2)
    assert tower.models[0].pass_flops == 1e12
    assert training.models[0].pass_flops == 12e12
    assert first.fits and first.memory_bytes == 2 * 10**9 + 8 * 10**6 + 2 * 10**9
    assert [one.name for one in (whole, half, tower, training)] == [one.name for one in chosen]


def test_a_contrast_without_rows_is_no_number() -> None:
    from wheresight.reproduce.reading import printed

    claim = Claim(
        words="x", sign="+", published=Contrast(column="Avg", method="cca"), document="", path=()
    )
    assert printed(claim, entry("bias/table1")) == "no number is printed"
