"""Tiny runs in processes of their own, which tests may kill, stop and watch (see `tiny_run.py`).

One process imports everything once and forks them, so that a run starts in a moment.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from wheresight.runs.store import RunFolder

TINY = Path(__file__).with_name("tiny_run.py")
ITEMS = 200
UNITS = 40
_SECONDS = 300


@dataclass
class Job:
    """One run in a process of its own.

    Attributes:
        pid: of the process.
        out: where the run lies.
    """

    pid: int
    out: Path
    _said: Path
    _process: psutil.Process | None

    def alive(self) -> bool:
        """Has it not ended yet?"""
        return self._process is not None and self._process.is_running()

    def signal(self, number: int) -> None:
        """Send a signal; SIGKILL is waited for."""
        os.kill(self.pid, number)
        if number == signal.SIGKILL and self._process is not None:
            self._process.wait(_SECONDS)

    def wait_for_parts(self, count: int) -> None:
        """Wait until so many parts are there; the run must not end before."""
        deadline = time.monotonic() + _SECONDS
        while len(list(self.out.glob("records/*.parquet"))) < count:
            assert self.alive(), "the run ended too early: " + self._said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def finish(self, code: int = 0) -> str:
        """Wait for its end, which must have this exit code; return what it said."""
        if self._process is not None:
            self._process.wait(_SECONDS)
        said = self._said.read_text()
        ended = Path(f"{self._said}.code")
        assert ended.is_file() and ended.read_text() == str(code), said
        return said


class Jobs:
    """Starts tiny runs."""

    def __init__(self, place: Path) -> None:
        self._place, self._numbers = place, itertools.count()
        self._server = subprocess.Popen(
            [sys.executable, str(TINY), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Byte-equal records need equal rounding, so one thread everywhere.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._read("READY")

    def start(self, out: Path | str, *options: str, **environ: str) -> Job:
        """Start one, with options of `tiny_run.py` and variables of the environment."""
        said = self._place / f"{next(self._numbers)}.txt"
        job = {"out": str(out), "options": options, "environ": environ, "said": str(said)}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        pid = int(self._read("FORKED"))
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:  # it is done already
            process = None
        return Job(pid, Path(out), said, process)

    def run(self, out: Path | str, *options: str, **environ: str) -> str:
        """Make one from beginning to end; return what it said."""
        return self.start(out, *options, **environ).finish()

    def _read(self, word: str) -> str:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError("the process that forks runs has ended")

    def close(self) -> None:
        """End the process that forks, and runs that a test left behind."""
        left = psutil.Process(self._server.pid).children(recursive=True)
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(_SECONDS)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass(frozen=True)
class Undisturbed:
    """A tiny run that nothing happened to.

    Attributes:
        records: all of them.
        parts: the names of the parts, which hold a hash of their bytes.
    """

    records: pa.Table
    parts: list[str]

    def check(self, out: Path, items: int = ITEMS) -> None:
        """A run of fewer items has the first of this one's records and parts, byte for byte."""
        found = RunFolder(out).read()
        assert len(found["item"].unique()) == items
        here = pc.is_in(self.records["item"], found["item"].unique())
        assert found.equals(self.records.filter(here))
        parts = parts_of(out)
        assert len(parts) == UNITS * items // ITEMS and set(parts) <= set(self.parts)
        assert (out / "report.html").is_file() and (out / "results.json").is_file()
        assert not list(out.rglob("*.tmp"))


def parts_of(out: Path) -> list[str]:
    """The names of a run's parts."""
    return sorted(part.name for part in (out / "records").glob("*.parquet"))
