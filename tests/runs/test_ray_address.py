"""A Ray cluster that was started apart from the run, as `ray start --head` starts one."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jobs import Jobs, Undisturbed

pytest.importorskip("ray", reason="Ray is not installed (wheresight[ray])")


# Ray asks for a token where one is known to this user; a run that is given an address must be told.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two cores on this machine, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    cluster = subprocess.Popen(
        [
            *ray, "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2",
            "--include-dashboard=false", "--disable-usage-stats",
            f"--object-store-memory={100 * 2**20}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **TOKEN, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield f"127.0.0.1:{port}" if _answers(port, cluster) else pytest.fail("Ray did not start")
    finally:
        # Not `ray stop`, which ends every cluster of this user.
        left = psutil.Process(cluster.pid).children(recursive=True)
        cluster.send_signal(signal.SIGTERM)
        cluster.wait(60)
        for process in psutil.wait_procs(left, 10)[1]:
            process.kill()


def _answers(port: int, cluster: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 120
    while cluster.poll() is None and time.monotonic() < deadline:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False


def test_ray_at_an_address_goes_on_with_what_others_began(
    address: str, jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    jobs.run(out, "items=20")
    ray = ("executor=ray", f"address={address}", "workers=1")
    said = jobs.run(out, "items=40", *ray, **TOKEN)
    assert "computed=80" in said
    undisturbed.check(out, 40)


def test_a_killed_driver_and_the_run_resumed(
    address: str, jobs: Jobs, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ray = ("executor=ray", f"address={address}", "workers=2")
    driver = jobs.start(out, "items=100", *ray, **TOKEN)
    driver.wait_for_parts(3)
    driver.signal(signal.SIGKILL)
    left = 20 - len(list((out / "records").glob("*.parquet")))
    assert left > 0
    # Its workers may write a part more before Ray ends them; that must not harm either.
    said = jobs.run(out, "items=100", *ray, **TOKEN)
    computed = int(said.rpartition("computed=")[2])
    assert 0 < computed <= 20 * left
    undisturbed.check(out, 100)
