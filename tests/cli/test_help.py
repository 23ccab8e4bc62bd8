"""Help answers at once: nothing heavy is imported for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest


def test_help_answers_in_under_0_4_seconds() -> None:
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "wheresight", "--help"], capture_output=True, text=True
        )
        took.append(time.perf_counter() - begin)
        assert done.returncode == 0
        assert "probe" in done.stdout
    assert min(took) < 0.4, took


@pytest.mark.parametrize(
    "verb",
    [
        "probe",
        "estimate",
        "report",
        "serve",
        "reproduce",
        "query",
        "export",
        "doctor",
        "list",
        "pocket",
        "train",
    ],
)
def test_help_of_every_verb_imports_no_torch(verb: str) -> None:
    code = (
        "import sys; sys.argv = ['wheresight', sys.argv[1], '--help']\n"
        "from wheresight.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'scipy', 'pyarrow'}\n"
        "heavy |= {'duckdb', 'ray'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_probe_help_names_every_option_plainly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wheresight", "probe", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    options = set(re.findall(r"--[a-z][a-z-]+", done.stdout))
    expected = {
        "--out",
        "--model",
        "--intervention",
        "--items",
        "--protocol",
        "--question",
        "--grid",
    }
    assert expected <= options


def test_estimate_takes_what_decides_a_probe() -> None:
    said = {}
    for verb in ("probe", "estimate"):
        done = subprocess.run(
            [sys.executable, "-m", "wheresight", verb, "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "120"},
        )
        said[verb] = set(re.findall(r"--[a-z][a-z-]+", done.stdout))
    left_out = {"--out", "--replicates", "--executor", "--address", "--workers"}
    left_out.add("--picture-workers")
    assert said["probe"] - said["estimate"] <= left_out
    assert {"--devices", "--batches", "--json"} <= said["estimate"] - said["probe"]
