"""Some of a model's layers or heads: `all`, `0-15`, `0-7/16-23`, `even`, `odd`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wheresight.errors import SpecError
from wheresight.interventions.base import Intervention
from wheresight.interventions.host import Host

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Some:
    """Numbers from 0: ranges with both ends in them, joined by `/`; `even`, `odd` or `all`.

    >>> some = Some.parse("0-1/4")
    >>> [n for n in range(6) if n in some], str(some)
    ([0, 1, 4], '0-1/4')
    """

    ranges: tuple[tuple[int, int], ...] = ()
    parity: int | None = None

    @classmethod
    def parse(cls, text: str | int | Some) -> Some:
        """numbers such as 3, 0-15, 0-7/16-23, even, odd or all"""
        if isinstance(text, Some):
            return text
        words = {"all": cls(), "even": cls(parity=0), "odd": cls(parity=1)}
        if str(text) in words:
            return words[str(text)]
        found = []
        for piece in str(text).split("/"):
            match = _RANGE.fullmatch(piece.strip())
            if match is None:
                raise ValueError(text)
            first = int(match[1])
            last = int(match[2]) if match[2] else first
            if last < first:
                raise ValueError(text)
            found.append((first, last))
        merged: list[tuple[int, int]] = []
        for first, last in sorted(found):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def __contains__(self, number: int) -> bool:
        if self.parity is not None:
            return number % 2 == self.parity
        return not self.ranges or any(first <= number <= last for first, last in self.ranges)

    @property
    def largest(self) -> int:
        """The largest number that is named; -1 if none is."""
        return self.ranges[-1][1] if self.ranges else -1

    def __str__(self) -> str:
        if self.parity is not None:
            return ("even", "odd")[self.parity]
        return (
            "/".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ranges)
            if self.ranges
            else "all"
        )


@dataclass(frozen=True)
class Layered(Intervention):
    """An intervention that may be kept to some layers, `layers=0-15`.

    Parameters:
        layers: the decoder layers it acts in, from 0.
    """

    layers: Some = field(default=Some(), kw_only=True, metadata={"read": Some.parse})

    def layer_key(self, layer: int) -> object:
        """True in its layers, else None."""
        return True if layer in self.layers else None

    def refuses(self, host: Host) -> str | None:
        """Refuse layers that the model does not have."""
        return outside("layer", self.layers, host.layers)


def outside(what: str, some: Some, count: int | None) -> str | None:
    """One sentence if numbers are named that do not exist; None if all is well or unknown."""
    if count is None or some.largest < count:
        return None
    return f"It names {what} {some.largest}, but the model's {what}s are 0 to {count - 1}."


def some_of(text: str) -> Some:
    """Read numbers given in Python code.

    Raises:
        SpecError: if it is none of the forms.
    """
    try:
        return Some.parse(text)
    except ValueError:
        raise SpecError(f"{text!r} was given; expected {Some.parse.__doc__}.") from None
