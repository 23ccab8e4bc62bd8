"""Shells complete verbs, options and names; no model library is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "datasets", "matplotlib", "scipy", "pyarrow", "duckdb"}
CODE = (
    "import sys\nfrom wheresight.cli.main import app\n"
    "try: app(prog_name='wheresight')\n"
    "except SystemExit: pass\n"
    f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))\n"
)


def completed(line: str) -> list[str]:
    """What bash is offered for the last word of a command line."""
    words = line.split(" ")
    env = {
        **os.environ,
        "_WHERESIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True)
    *found, heavy = done.stdout.splitlines()
    assert heavy == "HEAVY []", done.stdout + done.stderr
    return found


@pytest.mark.parametrize(
    ("line", "there", "not_there"),
    [
        ("wheresight rep", {"report", "reproduce"}, {"probe"}),
        ("wheresight probe --inter", {"--intervention"}, {"--items"}),
        ("wheresight probe -i bap", {"bapa", "bapa_cross", "bapa_far"}, {"none"}),
        ("wheresight evaluate -i bapa+ag", {"bapa+agci"}, {"agci"}),
        ("wheresight tune -i sc", {"scalingvis"}, {"bapa"}),
        ("wheresight probe --model p", {"pocket"}, {"skeleton:gemma-3-4b"}),
        ("wheresight evaluate --benchmark 2", {"2ds"}, {"localisation"}),
        ("wheresight diagnose --tool er", {"erasure"}, {"psi"}),
        ("wheresight reproduce awareness/p", {"awareness/psi"}, {"bias/table1"}),
    ],
)
def test_names_are_completed(line: str, there: set[str], not_there: set[str]) -> None:
    found = set(completed(line))
    assert there <= found and not not_there & found


@pytest.mark.parametrize(
    ("shell", "said"),
    [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --command")],
)
def test_a_shell_is_given_its_script(shell: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wheresight", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout and "_COMPLETE" in done.stdout
