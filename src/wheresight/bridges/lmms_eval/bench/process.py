"""lmms-eval in a process of its own: its configuration, its progress, and what went wrong.

One process runs all units that are missing, in turn; the model's weights are read once. Each unit
writes its results when it is done, so that a process that is killed loses one unit at most.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from wheresight.bridges.lmms_eval.bench.units import Unit
from wheresight.errors import RunError
from wheresight.runs.progress import Progress

_BEGUN = re.compile(r"Selected Tasks: \[")
_COUNTED = re.compile(r"Model Responding:.*?(\d+)/(\d+)")
_FAILED = re.compile(r"Error during evaluation: (.*?)\. Please set `--verbosity=DEBUG`", re.DOTALL)
_CACHES = ("HF_DATASETS_CACHE", "LMMS_EVAL_DATASETS_CACHE")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def run(
    units: Sequence[Unit],
    configurations: Sequence[dict[str, Any]],
    *,
    root: Path,
    working: Path,
    cache: Path | None,
    progress: Progress,
) -> None:
    """Run units that are missing.

    Args:
        units: at least one.
        configurations: the arguments of `lmms-eval eval` for each.
        root: the configuration file and the log go there.
        working: the folder that the process is started in.
        cache: where data sets are cached; None for the user's own cache. Local data must not be
            taken for the hub's later.
        progress: who is told.

    Raises:
        RunError: units that were not finished, and why; those that were are kept.
    """
    path, log = root / "lmms-eval.yaml", root / "lmms-eval.log"
    path.write_text(yaml.safe_dump(list(configurations), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "lmms_eval", "eval", "--config", str(path)]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if cache is not None:
        environment |= {name: str(cache) for name in _CACHES}
    progress.say(f"Starting lmms-eval; what it says is in {log}")
    process = subprocess.Popen(
        command, cwd=working, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    failures: list[str] = []
    try:
        with log.open("a", encoding="utf-8") as written:
            failures = _follow(process.stdout, written, units, progress)
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    left = [unit for unit in units if unit.answers() is None]
    if left:
        named = ", ".join(f"{unit.task} under {unit.spec}" for unit in left[:4])
        more = f" and {len(left) - 4} more" if len(left) > 4 else ""
        why = failures[0] if failures else f"it ended with code {process.returncode}"
        raise RunError(
            f"lmms-eval did not finish {named}{more}: {why.rstrip('.')}. What it said is in "
            f"{log}. The same command goes on with what is missing."
        )


def _follow(
    stream: IO[bytes], log: IO[str], units: Sequence[Unit], progress: Progress
) -> list[str]:
    """Pass progress on until the process has no more to say; return its errors."""
    failures: list[str] = []
    begun, counting, done = 0, False, 0
    for line in _lines(stream):
        counted = _COUNTED.search(line)
        if counted is None:
            log.write(f"{line}\n")
            log.flush()
        if _BEGUN.search(line):
            if counting:
                progress.stop()
            counting, done = False, 0
            unit = units[min(begun, len(units) - 1)]
            begun += 1
            progress.say(f"{unit.task} under {unit.spec} ({begun} of {len(units)})")
        elif counted is not None:
            now, total = int(counted[1]), int(counted[2])
            if not counting:
                progress.start(total, 0, "questions")
                counting = True
            if now > done:
                progress.advance(now - done)
                done = now
        elif (failed := _FAILED.search(line)) is not None:
            failures.append(" ".join(failed[1].split()))
    if counting:
        progress.stop()
    return failures


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; a bar that is drawn over itself is one line each time."""
    held = b""
    while chunk := os.read(stream.fileno(), 65536):
        *whole, held = re.split(rb"[\r\n]", held + chunk)
        yield from (text for line in whole if (text := _plain(line)))
    if text := _plain(held):
        yield text


def _plain(line: bytes) -> str:
    return _COLOURS.sub("", line.decode("utf-8", "replace")).rstrip()
