"""The settings of a grid, and what has to be run to know the answers under each.

Most settings are run themselves. One that does this or that by how sure the model is
(`by_confidence`) is put together, question by question, from the model as it is and from the two
things it does, which other settings of the grid share: a grid of 2 x 3 x 5 settings is six passes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.interventions.base import Intervention
from wheresight.interventions.by_confidence import ByConfidence
from wheresight.interventions.grids import Grid
from wheresight.interventions.spec import canonical, parse, to_json
from wheresight.probes.evaluate import Evaluated

NONE = "none"  # the model as it is

Found = Mapping[str, Sequence[Evaluated]]


@dataclass(frozen=True)
class Candidate:
    """One setting.

    Attributes:
        spec: canonical.
        values: on each axis of the grid, as written; empty for the model as it is.
        distance: how far its parameters are from those that leave the model as it is, summed; 0
            where that is not known.
        runs: what answers for it: itself without idle parts; or the model without the method that
            chooses, then what that does where the model is unsure, and where it is sure.
        by: how it chooses; None if it is run itself.
    """

    spec: str
    values: tuple[str, ...]
    distance: float
    runs: tuple[str, ...]
    by: ByConfidence | None = None

    @classmethod
    def of(cls, spec: str, values: tuple[str, ...] = ()) -> Candidate:
        """Plan a setting, given by any spec.

        Raises:
            SpecError: if it cannot be read.
        """
        spec = canonical(spec)
        parts = [part for part in parse(spec) if not part.idle()]
        away = sum(
            abs(float(part.values()[name]) - value)
            for part in parts
            for name, value in part.neutral.items()
        )
        choosing = [(n, by) for n, p in enumerate(parts) if (by := p.by_confidence()) is not None]
        if len(choosing) != 1:
            return cls(spec, values, away, (_active(parts),))
        ((place, by),) = choosing

        def instead(*others: Intervention) -> str:
            return _active([*parts[:place], *others, *parts[place + 1 :]])

        return cls(spec, values, away, (instead(), instead(by.unsure), instead(by.sure)), by)

    def direct(self) -> Candidate:
        """The same setting, run itself."""
        return Candidate(self.spec, self.values, self.distance, (self.spec,))

    def in_doubt(self, found: Found) -> bool:
        """Whether rounding could decide what it does to some question."""
        return self.by is not None and self.by.in_doubt(_confidence(found[self.runs[0]]))

    def unsure(self, found: Found) -> float | None:
        """Share of questions that it takes the model to be unsure of; None if it does not ask."""
        if self.by is None:
            return None
        return float(self.by.is_unsure(_confidence(found[self.runs[0]])).mean())

    def records(self, found: Found) -> list[Evaluated]:
        """Its records, from those of what is run, which are in one order."""
        rows = [found[name] for name in self.runs]
        chosen = list(rows[0])
        if self.by is not None:
            unsure = self.by.is_unsure(_confidence(rows[0]))
            chosen = [
                low if is_unsure else high
                for is_unsure, low, high in zip(unsure, rows[1], rows[2], strict=True)
            ]
        written = json.dumps(to_json(self.spec))
        named = {"intervention": self.spec, "intervention_json": written}
        return [Evaluated(**{**record, **named}) for record in chosen]  # type: ignore[typeddict-item]


def candidates(grid: Grid) -> list[Candidate]:
    """The model as it is, then every setting of the grid that is not that."""
    given = [Candidate.of(s, v) for s, v in zip(grid.specs, grid.values, strict=True)]
    return [Candidate.of(NONE), *(c for c in given if c.spec != NONE)]


def to_run(planned: Sequence[Candidate]) -> list[str]:
    """What has to be run for all of them, the model as it is first; each once."""
    return list(dict.fromkeys([NONE, *(run for c in planned for run in c.runs)]))


def _active(parts: Sequence[Intervention]) -> str:
    """The spec without what is idle, which leaves a model as it is bit for bit."""
    return canonical([part for part in parts if not part.idle()])


def _confidence(records: Sequence[Evaluated]) -> np.ndarray:
    return np.array([record["confidence"] for record in records])
