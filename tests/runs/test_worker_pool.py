"""Processes that may be killed at any moment: never a result that does not come."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
from spawned import kill, spawned

from wheresight.runs.worker_pool import WorkerPool


@pytest.fixture
def pool() -> WorkerPool:
    return idle_pool()


def idle_pool() -> WorkerPool:
    # What a process is told to do must be importable there, and test modules are not.
    return WorkerPool(2, gc.collect, ())


def test_results_and_errors_of_jobs_come_back(pool: WorkerPool) -> None:
    futures = [pool.submit(divmod, 17, n) for n in (5, 0, 3)]
    assert pool.result(futures[0]) == (3, 2) and pool.result(futures[2]) == (5, 2)
    with pytest.raises(ZeroDivisionError):
        pool.result(futures[1])
    pool.close()
    assert not spawned()


def test_a_death_that_the_executor_has_not_seen_is_noticed(pool: WorkerPool) -> None:
    pool.result(pool.submit(os.getpid))
    kill(spawned())
    begun = time.monotonic()
    with pytest.raises(BrokenProcessPool):
        pool.result(Future())  # a job that was added when the executor had given up
    assert time.monotonic() - begun < 10
    pool.kill()


def test_a_process_started_while_the_executor_gives_up_is_ended(pool: WorkerPool) -> None:
    pool.result(pool.submit(os.getpid))
    executor = pool._executor
    late = pool._context.Process(target=time.sleep, args=(600,))
    late.start()  # as `submit` does when the executor's thread has ended all that it knew
    os.kill(next(iter(executor._processes)), signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        pool.result(pool.submit(time.sleep, 600))
    pool.kill()
    assert not spawned()


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments(seed: int) -> None:
    draws, stop = random.Random(seed), threading.Event()

    def keep_killing() -> None:
        while not stop.wait(draws.uniform(0, 0.25)):
            kill(spawned()[: draws.randint(1, 2)])

    killer = threading.Thread(target=keep_killing)
    killer.start()
    done = broken = 0
    try:
        for _ in range(8):
            pool = idle_pool()
            futures = []
            for _ in range(6):
                futures.append(pool.submit(time.sleep, 0.01))
                time.sleep(draws.uniform(0, 0.05))
            for future in futures:
                try:
                    pool.result(future)
                except BrokenProcessPool:
                    broken += 1
                else:
                    done += 1
            pool.kill()
    finally:
        stop.set()
        killer.join()
    assert done + broken == 48 and done and broken
    assert not spawned()
