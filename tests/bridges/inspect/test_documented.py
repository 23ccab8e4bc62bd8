"""The commands and the code of docs/inspect.md, run as they stand there, on fewer items."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="the extra [inspect] is not installed here")

from click.testing import CliRunner
from fenced import ROOT, blocks, commands
from inspect_ai._cli.main import inspect
from inspect_ai.log import list_eval_logs, read_eval_log

PAGE = ROOT / "docs" / "inspect.md"
# A model of someone else's needs a key and a network.
OTHERS = re.compile(r"(?<=--model )(?!wheresight/)\S+")


def smaller(text: str) -> str:
    """A command or code with one item instead of many, and a model that is here."""
    text = OTHERS.sub("wheresight/pocket", text)
    return re.sub(r'(items"?[=:] ?)\d+', r"\g<1>1", text)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # Inspect sets variables of its own


def test_every_command_runs() -> None:
    told = [command for block in blocks(PAGE, "sh") for command in commands(block)]
    ours = [smaller(command) for command in told if command.startswith("inspect eval ")]
    assert len(ours) >= 3
    for n, command in enumerate(ours):
        arguments = [*shlex.split(command)[1:], "-T", "grid=1x2", "--display", "none"]
        if "--log-dir" not in arguments:
            arguments += ["--log-dir", f"logs-{n}"]
        folder = arguments[arguments.index("--log-dir") + 1]
        done = CliRunner().invoke(inspect, arguments)
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
        (found,) = list_eval_logs(folder)
        log = read_eval_log(found)
        assert log.status == "success" and log.results is not None
        assert log.results.completed_samples == len(log.samples or []) > 0
    rest = [c for c in told if not c.startswith("inspect eval ")]
    assert all(re.match(r"pip install|inspect view", command) for command in rest), rest


def test_the_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(PAGE, "py")
    space: dict[str, Any] = {}
    exec(compile(smaller(block.text), str(block), "exec"), space)
    assert "balanced_accuracy" in capsys.readouterr().out
