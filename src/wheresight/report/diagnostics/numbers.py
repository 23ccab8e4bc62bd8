"""How the numbers of diagnostics are written and put side by side, for page and terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast, get_args

from wheresight.probes.diagnostic import Finding
from wheresight.report import numerals
from wheresight.report.numerals import Unit
from wheresight.report.texts import one_line
from wheresight.report.tips import minus
from wheresight.runs.diagnosis import Diagnosed, FoundNumber


def written(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Write a number without its unit's sign; a plain one with three figures.

    >>> written(0.8241, "share"), written(0.000731, ""), written(1234.5, "", signed=True)
    ('82.4', '0.000731', '+1,234')
    """
    if value is None:
        return "-"
    if unit in get_args(Unit):
        return numerals.written(value, cast(Unit, unit), signed=signed)
    plus = "+" if signed and value else ""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:{plus},.0f}"
    if abs(value) < 1e-4:
        return f"{value:{plus}.2e}"
    return f"{value:{plus}.3g}"


def sign(unit: str, *, difference: bool = False) -> str:
    """The unit as it stands behind a number."""
    return numerals.sign(cast(Unit, unit), difference=difference) if unit in get_args(Unit) else ""


def with_interval(number: FoundNumber) -> tuple[str, str]:
    """A number with its unit, and its interval; the interval may be empty."""
    estimate, signed = number.estimate, number.versus is not None
    value = written(estimate.value, number.unit, signed=signed)
    if estimate.value is not None:
        value += sign(number.unit, difference=signed)
    if estimate.low is None or estimate.high is None:
        return value, ""
    ends = [written(e, number.unit, signed=signed) for e in (estimate.low, estimate.high)]
    return value, f"{ends[0]} to {ends[1]}"


def finding_tip(finding: Finding) -> str:
    """What pointing at a finding in a picture says: what it is, where, and its numbers."""
    signed = bool(finding.versus)
    about = one_line(finding.intervention, 60)
    head = f"{about} minus {one_line(finding.versus, 60)}" if signed else about
    value = "undefined"
    if math.isfinite(finding.value):
        value = written(finding.value, finding.unit, signed=signed)
        value += sign(finding.unit, difference=signed)
        if math.isfinite(finding.low) and math.isfinite(finding.high):
            low, high = (
                written(end, finding.unit, signed=signed) for end in (finding.low, finding.high)
            )
            value = f"{value} ({low} to {high})"
    where = [_at(name, place) for name, place in finding.where.items()]
    label = finding.label.removesuffix(", by layer")  # the layer follows
    named = ", ".join([label, *where])
    return f"{head}\n{one_line(named, 160)}: {minus(value)}"


@dataclass(frozen=True)
class Side:
    """A column of a table: an intervention, or the difference of one to another."""

    intervention: str
    versus: str | None

    @property
    def title(self) -> str:
        """What stands over the column."""
        return f"{self.intervention} - {self.versus}" if self.versus else self.intervention


@dataclass(frozen=True)
class Line:
    """A line of a table: a quantity, and its number in each column, where there is one."""

    label: str
    definition: str
    numbers: tuple[FoundNumber | None, ...]

    @property
    def note(self) -> str:
        """The first note of its numbers."""
        return next((n.note for n in self.numbers if n is not None and n.note), "")


def table(entry: Diagnosed, *, headline: bool) -> tuple[list[Side], list[Line]]:
    """Put a diagnostic's numbers side by side, interventions and differences in columns.

    Args:
        entry: the diagnostic.
        headline: its main numbers, or all others.
    """
    chosen = [n for n in entry.findings if n.headline == headline]
    sides = list(dict.fromkeys(Side(n.intervention, n.versus) for n in chosen))
    sides.sort(key=lambda side: side.versus is not None)  # interventions first, then differences
    lines: dict[tuple[object, ...], list[FoundNumber | None]] = {}
    for number in chosen:
        key = (number.name, number.label, number.definition, tuple(sorted(number.where.items())))
        held = lines.setdefault(key, [None] * len(sides))
        held[sides.index(Side(number.intervention, number.versus))] = number
    return sides, [
        Line(_label(str(key[1]), next(n for n in held if n is not None)), str(key[2]), tuple(held))
        for key, held in lines.items()
    ]


def _at(name: str, place: int | str) -> str:
    """A place in the model or the picture as pictures name it: cells count from 1."""
    if isinstance(place, str):
        return place
    return f"place {place + 1}" if name == "cell" else f"{name} {place}"


def _label(label: str, number: FoundNumber) -> str:
    where = ", ".join(
        value if isinstance(value, str) else f"{name} {value}"
        for name, value in number.where.items()
    )
    return f"{label} ({where})" if where else label
