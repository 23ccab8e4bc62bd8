"""`wheresight bench` where lmms-eval is not: help at once, and one sentence."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from wheresight.cli.main import app
from wheresight.errors import RunError

WATCHED = (
    "import sys; sys.argv = ['wheresight', 'bench', '--help']\n"
    "from wheresight.cli.main import app\n"
    "try: app()\n"
    "except SystemExit: pass\n"
    "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'scipy', 'pyarrow', 'yaml'}\n"
    "print('HEAVY', sorted((heavy | {'lmms_eval'}) & set(sys.modules)))\n"
)


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
    assert "--tasks" in done.stdout and "--data" in done.stdout


def test_without_lmms_eval_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "lmms_eval" else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(
        RunError, match=r"not installed here: pip install 'wheresight\[lmms-eval\]'"
    ):
        CliRunner().invoke(
            app, ["bench", "--tasks", "pope", "--out", str(tmp_path / "out")],
            catch_exceptions=False,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
