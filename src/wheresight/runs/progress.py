"""Who is told how far a run is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Who is told how far a run is; the command line draws it, a library call is silent."""

    def say(self, text: str) -> None:
        """A step has begun or something happened."""

    def start(self, total: int, done: int, unit: str) -> None:
        """Counting begins: `done` of `total` units are there already."""

    def advance(self, count: int) -> None:
        """So many more are done."""

    def stop(self) -> None:
        """Counting ends."""


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, done: int, unit: str) -> None: ...
    def advance(self, count: int) -> None: ...
    def stop(self) -> None: ...
