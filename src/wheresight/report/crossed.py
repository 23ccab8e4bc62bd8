"""Two-way tables: where a run holds every combination of some masks with some other methods.

Positions and mask are two reasons why places of an image are not alike to the text, and either can
hide what the other does. Their combinations are read best side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from wheresight.errors import SpecError
from wheresight.interventions.spec import canonical, parse
from wheresight.report.measures import MEASURES, Measure, measures
from wheresight.runs.results import InterventionResult, Results

# What is read of each combination, by name: evenness, then being right.
_SHOWN = ("balanced-accuracy", "false-alarm-rate", "hit-rate", "delta-debiased", "flip-rate")


@dataclass(frozen=True)
class Crossed:
    """Results by (row, column).

    Attributes:
        rows: specs without their mask; `none` is the model's own positions.
        columns: specs of masks; `none` is the model's own mask.
        cells: one result for each row and column.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], InterventionResult]


def crossed(results: Results) -> Crossed | None:
    """The largest full table of other methods by masks, or None if it is not at least 2 x 2."""
    found: dict[tuple[str, str], InterventionResult] = {}
    for result in results.interventions:
        split = _split(result.intervention)
        if split is not None:
            found[split] = result
    columns = tuple(dict.fromkeys(mask for _, mask in found))
    full = [
        row
        for row in dict.fromkeys(rest for rest, _ in found)
        if all((row, mask) in found for mask in columns)
    ]
    # One mask that was tried on a single method must not spoil the table of the others.
    while len(full) < 2 and len(columns) > 2:
        rarest = min(columns, key=lambda mask: sum(m == mask for _, m in found))
        columns = tuple(mask for mask in columns if mask != rarest)
        full = [
            row
            for row in dict.fromkeys(rest for rest, _ in found)
            if all((row, mask) in found for mask in columns)
        ]
    if len(full) < 2 or len(columns) < 2:
        return None
    rows = tuple(full)
    cells = {(row, mask): found[row, mask] for row in rows for mask in columns}
    return Crossed(rows, columns, cells)


def shown_measures(results: Results) -> list[Measure]:
    """The few measures that a two-way table or an overview shows, in order."""
    there = measures(results)
    return [m for name in _SHOWN for m in MEASURES if m.name == name and m in there]


def _split(spec: str) -> tuple[str, str] | None:
    """A spec without its mask, and its mask alone; None if a method is not installed here."""
    try:
        parts = parse(spec)
    except SpecError:
        return None
    masks = [part for part in parts if part.acting() == ("mask",)]
    rest = [part for part in parts if part.acting() != ("mask",)]
    return canonical(rest), canonical(masks)
