"""Real Ray, started by the run itself: killed actors cost nothing but time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jobs import Jobs, Undisturbed

pytest.importorskip("ray", reason="Ray is not installed (wheresight[ray])")


def test_two_actors_give_the_same_records_though_five_are_killed(
    jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    driver = jobs.start(out, "items=150", "executor=ray", "workers=2")
    killed: set[int] = set()
    for count in (1, 6, 11, 16, 21):  # of 30 parts
        driver.wait_for_parts(count)
        victim = next(actor for actor in actors(driver.pid) if actor.pid not in killed)
        victim.kill()
        killed.add(victim.pid)
    said = driver.finish()
    assert len(killed) == 5
    assert "results=True" in said
    undisturbed.check(out, 150)


def actors(driver: int) -> Iterator[psutil.Process]:
    """The processes of the actors, as Ray names them; waits until there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in psutil.Process(driver).children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Remote"):
                    yield process
            except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
                continue
        time.sleep(0.05)
