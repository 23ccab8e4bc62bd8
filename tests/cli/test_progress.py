"""Progress where there is no terminal: few lines, each of which says how long it still takes."""

from __future__ import annotations

import doctest
import io
import time
from types import ModuleType

import pytest
from rich.console import Console

from wheresight import durations
from wheresight.cli import progress
from wheresight.cli.progress import ConsoleProgress


@pytest.mark.parametrize(("module", "examples"), [(progress, 1), (durations, 2)])
def test_the_examples_hold(module: ModuleType, examples: int):
    tried = doctest.testmod(module)
    assert tried.attempted == examples and not tried.failed


def test_a_file_gets_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch):
    out, now = io.StringIO(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown = ConsoleProgress(Console(file=out, width=200))
    shown.start(1_000, 0, "questions")
    for _ in range(10):
        now[0] += 11
        shown.advance(100)
    shown.stop()
    lines = out.getvalue().splitlines()
    assert lines[0] == "100/1,000 questions, 9.1/s, about 99 s left"
    assert lines[-1] == "1,000/1,000 questions, 9.1/s, done" and len(lines) == 10
