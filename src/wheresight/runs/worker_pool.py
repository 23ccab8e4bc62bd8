"""Processes that work beside this one, any of which may be killed at any moment.

A `ProcessPoolExecutor` notices most deaths by itself. Three it can miss, and then waits for ever
(read in CPython 3.11's `concurrent/futures/process.py`): `submit` adds a job, or starts a process,
while the pool's own thread already gives up on a death that it has seen; or a process dies that was
started after that thread began to watch the others. So results are waited for with an eye on the
processes, and processes are ended by whoever started them.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

Result = TypeVar("Result")

# Seconds between looks at the processes while a result is waited for.
_LOOK = 1.0
# Seconds that processes have for what they are doing when they are told to end.
_PATIENCE = 20.0


class WorkerPool:
    """Processes that are started afresh, never forked, and do not run the caller's script again.

    Args:
        processes: how many at most.
        initializer: called once in each, with `initargs`.
    """

    def __init__(
        self, processes: int, initializer: Callable[..., None], initargs: tuple[Any, ...]
    ) -> None:
        self._context = _Remembering()
        self._executor = ProcessPoolExecutor(
            processes, mp_context=self._context, initializer=initializer, initargs=initargs
        )

    def submit(self, job: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Hand out a job. If the pool is broken the future says so, like that of a job lost."""
        with _without_main():
            try:
                return self._executor.submit(job, *arguments)
            except (BrokenProcessPool, OSError, ValueError) as error:
                # A job that is given just when a process has died may want to start another, and
                # then finds the pool's pipes closed.
                broken: Future[Result] = Future()
                broken.set_exception(BrokenProcessPool(str(error)))
                return broken

    def result(self, future: Future[Result]) -> Result:
        """Wait for a job.

        Raises:
            BrokenProcessPool: a process has died before the job was done.
            Exception: what the job raised.
        """
        while not wait_for([future], timeout=_LOOK).done:
            if self._context.dead():
                raise BrokenProcessPool("A process died, and nothing more came from the others.")
        return future.result()

    def close(self) -> None:
        """End all processes when they have done what they are doing; cancel all else."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._context.end(_PATIENCE)

    def kill(self) -> None:
        """End all processes at once."""
        self._executor.shutdown(wait=False)
        self._context.end(0)


class _Remembering(SpawnContext):
    """Starts processes, and knows them when the pool has forgotten them."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[SpawnProcess] = []

    def Process(self, *args: Any, **options: Any) -> SpawnProcess:  # type: ignore[override] # noqa: N802
        process = SpawnProcess(*args, **options)
        self._made.append(process)
        return process

    def dead(self) -> bool:
        """Has any that was started come to its end?"""
        return bool(connection.wait([process.sentinel for process in self._started()], timeout=0))

    def end(self, patience: float) -> None:
        """Wait for their end; kill what goes on after so many seconds."""
        for process in self._started():
            if not connection.wait([process.sentinel], timeout=patience):
                process.kill()
            connection.wait([process.sentinel])

    def _started(self) -> list[SpawnProcess]:
        return [process for process in self._made if process.pid is not None]


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the caller's script again; they need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
