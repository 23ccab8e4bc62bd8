"""`wheresight evaluate` in a terminal: numbers, and errors of one sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warm_commands import wheresight
from wheresight.cli.main import app


def run(*given: str) -> subprocess.CompletedProcess[str]:
    return wheresight("evaluate", *given, COLUMNS="160")


def test_a_table_with_baselines(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["-b", "localisation#items=1,grid=1x2,wording=bare", "-i", "none", "-i", "bapa",
             "--device", "cpu", "--replicates", "100", "-o", str(out)]  # fmt: skip
    done = run(*given)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((out / "evaluation.json").read_text())
    first = numbers["benchmarks"][0]["interventions"][0]["readers"][0]["accuracy"]["value"]
    lines = done.stdout.splitlines()
    at = next(n for n, row in enumerate(lines) if row.startswith("right by likeliest option"))
    assert re.match(rf"  none +{100 * first:.1f}", lines[at + 1])
    assert lines[at + 2].rstrip().endswith("minus none") and "guessing 50.0" in done.stdout
    assert "this model on blank pictures, under none 50.0" in done.stdout
    assert f"Report: {(out / 'evaluation.html').as_uri()}" in done.stdout
    page = (out / "evaluation.html").read_text()
    assert "<h1>Does the model know where things are?</h1>" in page
    (out / "evaluation.html").unlink()
    again = CliRunner().invoke(app, ["report", str(out), "--replicates", "100"])
    assert again.exit_code == 0 and again.stdout.splitlines()[-1] == lines[-1]
    assert (out / "evaluation.html").read_text() == page


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-b", "2dss"], "Did you mean '2ds'?"),
        (["-b", "whatsup-a"], "whatsup_vlms"),
        (["-b", "own:/nowhere/q.jsonl"], "is no file"),
        (["-b", "2ds#images=1", "-i", "bappa"], "Did you mean"),
        (["-b", "2ds#images=1", "--replicates", "0"], "replicates"),
        (["-b", "2ds#images=1", "--model", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    given: list[str], said: str, tmp_path: Path
) -> None:
    done = run(*given, "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['wheresight', 'evaluate', '--help']\n"
        "from wheresight.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'scipy', 'pyarrow', 'PIL'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
