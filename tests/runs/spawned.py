"""The processes that another has started afresh, as a pool does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import psutil


def spawned(parent: int | None = None) -> list[psutil.Process]:
    """Those of a process, by default of this one, that are at work."""
    return [c for c in psutil.Process(parent or os.getpid()).children() if at_work(c)]


def at_work(process: psutil.Process) -> bool:
    """Is it alive, and one of a pool's? It may end while it is looked at."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill what is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
