"""`wheresight compare` in a terminal: help at once, errors of one sentence, nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from warm_commands import wheresight


def run(*given: str) -> subprocess.CompletedProcess[str]:
    return wheresight("compare", *given, COLUMNS="80")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['wheresight', 'compare', '--help']\n"
        "from wheresight.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'matplotlib', 'scipy', 'pyarrow'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
    for option in ("--out", "--reference", "--reader", "--replicates", "--seed"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], "holds neither a probe nor an evaluation"),
        (["nowhere", "--replicates", "3"], "at least 100 replicates"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_2(
    given: list[str], said: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(*given, "--out", str(out))
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()


def test_without_a_folder_it_says_what_is_missing() -> None:
    done = run()
    assert done.returncode == 2
    assert "PROBE_DIR" in done.stderr
