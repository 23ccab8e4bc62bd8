"""Whatever happens to a run, its finished records equal an undisturbed run's: none lost, none
doubled. Processes are really killed; what is shared is a tiny run (`tiny_run.py`)."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from wheresight.runs.store import RunFolder

TINY = Path(__file__).with_name("tiny_run.py")
UNITS = 40
# Byte-equal records need equal rounding, so one thread everywhere.
ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1"}
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (wheresight[ray])"
)


def start(out: Path | str, *options: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TINY), str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRON, **environ},
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, out + err
    return out if code == 0 else err


def run(out: Path | str, *options: str, **environ: str) -> str:
    return finish(start(out, *options, **environ))


def wait_for_parts(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while len(list(out.glob("records/*.parquet"))) < count:
        assert process.poll() is None, "the run ended too early: " + str(process.communicate())
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, list[str]]:
    """The records, and the names of the parts, which hold a hash of their bytes."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run(out)
    return RunFolder(out).read(), parts_of(out)


def parts_of(out: Path) -> list[str]:
    return sorted(part.name for part in (out / "records").iterdir())


def check(out: Path, undisturbed: tuple[pa.Table, list[str]], items: int = 200) -> None:
    """A run of fewer items has the first of the undisturbed run's, byte for byte."""
    records, parts = undisturbed
    found = RunFolder(out).read()
    assert len(found["item"].unique()) == items
    assert found.equals(records.filter(pc.is_in(records["item"], found["item"].unique())))
    assert set(parts_of(out)) <= set(parts)
    assert len(parts_of(out)) == UNITS * items // 200
    assert (out / "report.html").is_file() and (out / "results.json").is_file()
    assert not [name for name in os.listdir(out) if name.endswith(".tmp")]


def test_the_undisturbed_run_is_whole(undisturbed: tuple[pa.Table, list[str]]) -> None:
    records, parts = undisturbed
    assert len(parts) == UNITS and records.num_rows == 200 * 2 * 2
    keys = records.select(["item", "cell", "question", "intervention"]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == records.num_rows


def test_killed_at_twenty_random_moments(
    undisturbed: tuple[pa.Table, list[str]], tmp_path: Path
) -> None:
    said = run(tmp_path / "run", "--kills", "20")
    (line,) = [line for line in said.splitlines() if line.startswith("KILLS ")]
    seen = json.loads(line.removeprefix("KILLS "))
    assert len(seen) == 20 and seen == sorted(seen)
    assert 0 < seen[-1] < UNITS
    check(tmp_path / "run", undisturbed)


def test_two_runs_in_one_folder(undisturbed: tuple[pa.Table, list[str]], tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = start(out, "items=60")
    wait_for_parts(out, 1, first)
    first.send_signal(signal.SIGSTOP)  # it holds the folder, however slow this machine is
    ranked = start(out, "items=60", RANK="0", WORLD_SIZE="2")
    others = [start(out, "items=60"), start(out, "items=60", "seed=1"), ranked]
    for other in others:
        assert "Another wheresight process" in finish(other, code=2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert "holds another run (seed: 0 there, 1 now" in finish(start(out, "seed=1"), code=2)
    run(out, "items=60")
    check(out, undisturbed, 60)


def test_two_ranks_share_a_run(undisturbed: tuple[pa.Table, list[str]], tmp_path: Path) -> None:
    out = tmp_path / "run"
    environ = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    ranks = [start(out, "items=100", SLURM_PROCID=str(rank), **environ) for rank in range(2)]
    said = [finish(rank) for rank in ranks]
    assert sorted("results=True" in text for text in said) == [False, True]
    assert all("computed=200" in text for text in said)
    check(out, undisturbed, 100)


def test_a_rank_that_died_is_made_good_by_any_other_run(
    undisturbed: tuple[pa.Table, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    dying = start(out, "items=40", RANK="1", WORLD_SIZE="2")
    wait_for_parts(out, 1, dying)
    dying.send_signal(signal.SIGKILL)
    dying.communicate()
    assert "results=False" in run(out, "items=40", RANK="0", WORLD_SIZE="2")
    assert "results=True" in run(out, "items=40")
    check(out, undisturbed, 40)


def test_the_clock_set_back(undisturbed: tuple[pa.Table, list[str]], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, "items=20")
    future = 4_000_000_000
    for file in out.rglob("*"):
        os.utime(file, (future, future))
    said = run(out, "items=60", "--clock-back")
    assert "START 80/240" in said
    check(out, undisturbed, 60)


@needs_ray
def test_two_ray_actors_give_the_same_records_though_five_are_killed(
    undisturbed: tuple[pa.Table, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    driver = start(out, "items=150", "executor=ray", "workers=2")
    killed: set[int] = set()
    for count in (1, 6, 11, 16, 21):  # of 30 parts
        wait_for_parts(out, count, driver)
        victim = next(actor for actor in actors(driver.pid) if actor.pid not in killed)
        victim.kill()
        killed.add(victim.pid)
    said = finish(driver)
    assert len(killed) == 5
    assert "results=True" in said
    check(out, undisturbed, 150)


@needs_ray
def test_ray_goes_on_with_what_others_began(
    undisturbed: tuple[pa.Table, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(out, "items=20")
    said = run(out, "items=40", "executor=ray", "workers=1")
    assert "computed=80" in said
    check(out, undisturbed, 40)


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
