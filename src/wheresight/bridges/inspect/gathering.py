"""Gather calls that are made at the same time into batches, and run one batch at a time.

Inspect calls a model once a sample, many samples at once, in one event loop. Each caller here waits
for its turn; whoever has it runs the batch of the oldest waiting call in a thread, so that the loop
goes on and further calls gather meanwhile. A caller whose call ran in another's batch has its
result when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

Call = TypeVar("Call")
Made = TypeVar("Made")

# A batch that is not full starts when no further call has come for so long, seconds.
QUIET = 0.05


@dataclass(eq=False)
class _Waiting(Generic[Call, Made]):
    key: Hashable
    call: Call
    made: Made | None = None
    error: Exception | None = None
    done: bool = False


class Gathering(Generic[Call, Made]):
    """Batches of concurrent calls.

    Args:
        run: makes the results of a batch, in its order; called in a thread, never twice at once.
        most: says how many calls a batch may have.
    """

    def __init__(
        self, run: Callable[[Sequence[Call]], Sequence[Made]], most: Callable[[], int]
    ) -> None:
        self._run = run
        self._most = most
        self._waiting: list[_Waiting[Call, Made]] = []
        # Models outlive event loops, locks do not.
        self._turns: RunVar[anyio.Lock] = RunVar("turns")

    async def submit(self, key: Hashable, call: Call) -> Made:
        """The result of a call, which runs beside others of the same key.

        Raises:
            what `run` raises for its batch.
        """
        own: _Waiting[Call, Made] = _Waiting(key, call)
        self._waiting.append(own)
        try:
            async with self._turn():
                while not own.done:
                    await self._gather()
                    await self._run_oldest()
        finally:
            if own in self._waiting:  # cancelled before it ran
                self._waiting.remove(own)
        if own.error is not None:
            raise own.error
        return own.made  # type: ignore[return-value]

    async def _gather(self) -> None:
        """Wait until a batch is full, or nobody comes any more."""
        seen = -1
        while seen < len(self._waiting) < self._most():
            seen = len(self._waiting)
            await anyio.sleep(QUIET)

    async def _run_oldest(self) -> None:
        key = self._waiting[0].key
        batch = [w for w in self._waiting if w.key == key][: self._most()]
        await self._attempt(batch)
        for w in batch:
            w.done = True
            if w in self._waiting:
                self._waiting.remove(w)

    async def _attempt(self, batch: Sequence[_Waiting[Call, Made]]) -> None:
        """Run a batch; where it fails, each call alone, so that none pays for another's error."""
        try:
            made: Sequence[Any] = await run_sync(self._run, [w.call for w in batch])
        except Exception as error:
            if len(batch) > 1:
                for w in batch:
                    await self._attempt([w])
            else:
                batch[0].error = error
        else:
            for w, one in zip(batch, made, strict=True):
                w.made = one

    def _turn(self) -> anyio.Lock:
        lock = self._turns.get(None)
        if lock is None:
            lock = anyio.Lock()
            self._turns.set(lock)
        return lock
