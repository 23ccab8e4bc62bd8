"""Keep the pictures used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A cache that makes a value when it is asked for, and drops those unused for longest.

    Args:
        make: makes the value of a name.
        weigh: bytes that a value takes.
        limit: bytes to keep; the value made last is always kept.
    """

    def __init__(self, make: Callable[[K], V], weigh: Callable[[V], int], limit: int) -> None:
        self._make = make
        self._weigh = weigh
        self._limit = limit
        self._held: OrderedDict[K, V] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, name: K) -> V:
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        value = self._make(name)
        self._held[name] = value
        self._bytes += self._weigh(value)
        while self._bytes > self._limit and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= self._weigh(dropped)
        return value
