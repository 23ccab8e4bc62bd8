"""`wheresight tune` in a terminal: numbers, and errors of one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from wheresight.cli import main

BENCHMARK = "localisation#items=5,grid=1x2,wording=bare"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command as its entry point runs it; in this process, where torch is loaded once."""

    def ran(*given: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["wheresight", "tune", *given])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as left:
            main.run()
        said = capsys.readouterr()
        return Done(int(left.value.code or 0), said.out, said.err)

    return ran


def test_a_choice_and_its_result(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        "-b", BENCHMARK, "-i", "scalingvis:alpha={0,1.5}", "--no-blind", "--device", "cpu",
        "--replicates", "100", "-o", str(out),
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads((out / "tune.json").read_text())
    assert [one["values"] for one in found["candidates"]] == [{}, {"alpha": "0"}, {"alpha": "1.5"}]
    none = 100 * found["test"]["none"]["value"]
    (line,) = [row for row in done.out.splitlines() if row.strip().startswith("test: ")]
    assert f" {none:.1f}" in line
    stock = found["choice"]["spec"] == "none"
    assert ("Nothing tuned beats the model as it is" in done.out) == stock
    assert "Used for choosing" in done.out and str(out) in done.out
    assert (out / "tune.html").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "No intervention was given"),
        (["-i", "scalingvis"], "nothing to choose"),
        (["-i", "scalingvis:alpha={1,2"], "braces"),
        (["-i", "scalingvis:alpha={1,2}", "--grid", "mine"], "Unknown grid"),
        (["-i", "bapa", "--grid", "published"], "published grid"),
        (["-i", "scalingvis:alpha={1,2}", "-b", "2dss"], "Did you mean '2ds'?"),
        (["-i", "scalingvis:alpha={1,2}", "--objective", "sets"], "which has no sets"),
        (["-i", "scalingvis:alpha={1,2}", "--replicates", "0"], "replicates"),
        (["-i", "scalingvis:alpha={1,2}", "-t", BENCHMARK], "no part in the choice"),
        (["-i", "scalingvis:alpha=1", "scalingvis:alpha=2"], "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    run: Run, given: list[str], said: str, tmp_path: Path
) -> None:
    benchmark = [] if "-b" in given else ["-b", BENCHMARK]
    if "sets" in given:
        benchmark = ["-b", "2ds#images=5"]
    done = run(*given, *benchmark, "-o", str(tmp_path / "out"))
    assert done.code == 2
    assert said in done.err and "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['wheresight', 'tune', '--help']\n"
        "from wheresight.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'scipy', 'pyarrow', 'PIL'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
