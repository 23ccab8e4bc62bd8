"""Calls that are made at the same time run in batches, each with its own result or error."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="the extra [inspect] is not installed here")

import anyio

from wheresight.bridges.inspect.gathering import Gathering


class Squares:
    """Squares numbers, and remembers the batches that it was given."""

    def __init__(self, most: int) -> None:
        self.batches: list[list[int]] = []
        self.hold: threading.Event | None = None
        self.gathering: Gathering[int, int] = Gathering(self.run, lambda: most)

    def run(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        if self.hold is not None:
            assert self.hold.wait(60)
        if 13 in numbers:
            raise ValueError("unlucky")
        return [number * number for number in numbers]

    async def all(self, numbers: Sequence[int], keys: int = 1) -> dict[int, Any]:
        found: dict[int, Any] = {}

        async def one(number: int) -> None:
            try:
                found[number] = await self.gathering.submit(number % keys, number)
            except ValueError as error:
                found[number] = str(error)

        async with anyio.create_task_group() as group:
            for number in numbers:
                group.start_soon(one, number)
        return found


def test_calls_at_once_share_batches_in_their_order() -> None:
    squares = Squares(most=4)
    assert anyio.run(squares.all, range(10)) == {n: n * n for n in range(10)}
    assert squares.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_it_outlives_an_event_loop() -> None:
    squares = Squares(most=2)
    for _ in range(2):
        assert anyio.run(squares.all, [1, 2, 3]) == {1: 1, 2: 4, 3: 9}


def test_calls_of_other_keys_are_other_batches() -> None:
    squares = Squares(most=8)
    assert anyio.run(squares.all, range(6), 2) == {n: n * n for n in range(6)}
    assert squares.batches == [[0, 2, 4], [1, 3, 5]]


def test_a_call_that_fails_fails_alone() -> None:
    squares = Squares(most=4)
    found = anyio.run(squares.all, [12, 13, 14])
    assert found == {12: 144, 13: "unlucky", 14: 196}
    assert squares.batches == [[12, 13, 14], [12], [13], [14]]


def test_a_cancelled_call_is_not_run() -> None:
    squares, freed = Squares(most=1), threading.Event()
    squares.hold = freed

    async def main() -> int:
        async with anyio.create_task_group() as group:
            gone = anyio.CancelScope()

            async def cancelled() -> None:
                with gone:
                    await squares.gathering.submit(0, 99)

            group.start_soon(squares.gathering.submit, 0, 1)
            while not squares.batches:
                await anyio.sleep(0.01)
            group.start_soon(cancelled)
            await anyio.sleep(0.05)
            gone.cancel()
            freed.set()
        return await squares.gathering.submit(0, 3)

    assert anyio.run(main) == 9
    assert squares.batches == [[1], [3]]
