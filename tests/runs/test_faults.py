"""Whatever happens to a run, its finished records equal an undisturbed run's: none lost, none
doubled. Processes are really killed, disks really full; the runs are tiny (`tiny_run.py`)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import ITEMS, TINY, UNITS, Jobs, Undisturbed


def test_the_undisturbed_run_is_whole(undisturbed: Undisturbed) -> None:
    records = undisturbed.records
    assert len(undisturbed.parts) == UNITS and records.num_rows == ITEMS * 2 * 2
    keys = records.select(["item", "cell", "question", "intervention"]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == records.num_rows


def test_killed_at_twenty_random_moments(
    jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    said = jobs.run(tmp_path / "run", "--kills", "20")
    (line,) = [line for line in said.splitlines() if line.startswith("KILLS ")]
    seen = json.loads(line.removeprefix("KILLS "))
    assert len(seen) == 20 and seen == sorted(seen)
    assert 0 < seen[-1] < UNITS
    undisturbed.check(tmp_path / "run")


def test_two_runs_in_one_folder(jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = jobs.start(out, "items=60")
    first.wait_for_parts(1)
    first.signal(signal.SIGSTOP)  # it holds the folder, however slow this machine is
    ranked = jobs.start(out, "items=60", RANK="0", WORLD_SIZE="2")
    others = [jobs.start(out, "items=60"), jobs.start(out, "items=60", "seed=1"), ranked]
    for other in others:
        assert "Another wheresight process" in other.finish(code=2)
    first.signal(signal.SIGKILL)
    assert "holds another run (seed: 0 there, 1 now" in jobs.start(out, "seed=1").finish(code=2)
    jobs.run(out, "items=60")
    undisturbed.check(out, 60)


def test_two_ranks_share_a_run(jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "run"
    environ = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    ranks = [jobs.start(out, "items=100", SLURM_PROCID=str(n), **environ) for n in range(2)]
    said = [rank.finish() for rank in ranks]
    assert sorted("results=True" in text for text in said) == [False, True]
    assert all("computed=200" in text for text in said)
    undisturbed.check(out, 100)


def test_a_rank_that_died_is_made_good_by_any_other_run(
    jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    dying = jobs.start(out, "items=40", RANK="1", WORLD_SIZE="2")
    dying.wait_for_parts(1)
    dying.signal(signal.SIGKILL)
    assert "results=False" in jobs.run(out, "items=40", RANK="0", WORLD_SIZE="2")
    assert "results=True" in jobs.run(out, "items=40")
    undisturbed.check(out, 40)


def test_the_clock_set_back(jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "run"
    jobs.run(out, "items=20")
    future = 4_000_000_000
    for file in out.rglob("*"):
        os.utime(file, (future, future))
    said = jobs.run(out, "items=60", "--clock-back")
    assert "START 80/240" in said
    undisturbed.check(out, 60)


def test_parts_truncated_emptied_and_flipped_in_one_bit(
    jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    jobs.run(out, "items=40")
    truncated, emptied, flipped, *whole = sorted((out / "records").glob("*.parquet"))
    before = [part.stat().st_mtime_ns for part in whole]
    truncated.write_bytes(truncated.read_bytes()[:-100])
    emptied.write_bytes(b"")
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    said = jobs.run(out, "items=40")
    for part in (truncated, emptied, flipped):
        assert f"{part} is damaged; it is set aside and computed again" in said
    assert "START 100/160" in said
    assert [part.stat().st_mtime_ns for part in whole] == before
    undisturbed.check(out, 40)


def test_the_disk_full(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A real disk of 100 kB, mounted where only the run and its children see it."""
    alone = ["unshare", "--map-root-user", "--mount"]
    mount = [*alone, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk in a namespace of one's own is not allowed here")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    run = [sys.executable, str(TINY), str(disk / "run"), "items=100", "--small-disk"]
    # What lies on the disk is gone with the namespace, so it is copied out of it.
    script = 'set -e; kept="$1"; out="$2"; shift 2; "$@"; cp -r "$out" "$kept"'
    done = subprocess.run(
        [*alone, "sh", "-c", script, "sh", str(kept), str(disk / "run"), *run],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (full,) = [line for line in done.stdout.splitlines() if line.startswith("FULL ")]
    _, there, reason = full.split(" ", 2)
    assert "is full. Finished records are safe" in reason
    assert 0 < int(there) < UNITS // 2
    assert f"START {int(there) * 20}/400" in done.stdout  # nothing that was there is done again
    undisturbed.check(kept, 100)
