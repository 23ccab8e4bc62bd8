"""Shares of a launcher, and executors by name."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import Undisturbed

from wheresight.errors import RunError
from wheresight.runs import executors
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.launch import Share, share_of_launcher


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (0, 1, None)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1, None)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, (3, 4, 1)),
        ({"RANK": "3"}, (0, 1, None)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}, (1, 2, 1)),
        # A step may be smaller than the job.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1, None)),
        # Inside an allocation, without a step, there is no PROCID.
        ({"SLURM_NTASKS": "8"}, (0, 1, None)),
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4"}, (2, 4, None)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            (2, 4, None),
        ),
        # An array whose members have two tasks each.
        (
            {
                "SLURM_ARRAY_TASK_ID": "1",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_PROCID": "1",
                "SLURM_STEP_NUM_TASKS": "2",
            },
            (3, 6, None),
        ),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "9"}, (0, 2, None)),
    ],
)
def test_shares(environ: dict[str, str], expected: tuple[int, int, int | None]) -> None:
    share = share_of_launcher(environ)
    assert (share.rank, share.world, share.local) == expected


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "process 2 of 2"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "process 0 of 0"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK='-1'; expected a whole number"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK='one'; expected a whole number"),
        ({"SLURM_PROCID": "", "SLURM_NTASKS": "2"}, "SLURM_PROCID=''"),
    ],
)
def test_shares_that_make_no_sense(environ: dict[str, str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        share_of_launcher(environ)


@settings(max_examples=60, deadline=None)
@given(world=st.integers(1, 50), shard=st.integers(0, 10_000))
def test_every_shard_has_one_owner(world: int, shard: int) -> None:
    assert sum(Share(rank, world).has(shard) for rank in range(world)) == 1


def test_a_package_can_register_an_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        pass

    monkeypatch.setattr(sys.modules[__name__], "Mine", Mine, raising=False)
    entry = EntryPoint("mine", f"{__name__}:Mine", "wheresight.executors")
    monkeypatch.setattr(executors, "entry_points", lambda group: [entry])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    assert list(executors.executors()) == ["mine", "local", "ray"]
    assert isinstance(executors.executor("mine"), Mine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "rayy"}, "Unknown executor 'rayy'. Did you mean 'ray'"),
        ({"workers": 2}, "--workers was given, and the executor is local"),
        ({"address": "auto"}, "--address was given, and the executor is local"),
        ({"executor": "ray", "workers": 0}, "number of workers was given as 0"),
        ({"cores_per_worker": -1}, "cores per worker was given as -1"),
        ({"out": "nowhere://a/b"}, "cannot be opened .*Expected a folder, or a URL"),
        ({"out": "s3://"}, "names no place"),
    ],
)
def test_bad_requests_are_refused_before_anything_loads(options: dict, message: str, tmp_path):
    if options.get("executor") == "ray":
        pytest.importorskip("ray")
    with pytest.raises(RunError, match=message):
        run_grid(GridRequest(**{"out": str(tmp_path / "run"), **options}))
    assert not (tmp_path / "run").exists()


def test_ranks_need_a_folder_that_all_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="in the memory of one process, and 2 share the run"):
        run_grid(GridRequest(out="memory://ranks"))


def test_ray_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"pip install 'wheresight\[ray\]'"):
        run_grid(GridRequest(out="unused", executor="ray"))


def test_torchrun_starts_two_processes_that_share_a_run(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    probe = ["-m", "wheresight", "probe", "--out", str(out), "--items", "40", "--grid", "1x2"]
    rest = ["--protocol", "paper", "-i", "none", "-i", "bapa", "--replicates", "100"]
    done = subprocess.run(
        [sys.executable, *torchrun, *probe, *rest],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in range(2):
        told = f"process {rank} of 2 (RANK and WORLD_SIZE) does 80 of them"
        assert told in " ".join(done.stdout.split())
    undisturbed.check(out, 40)
