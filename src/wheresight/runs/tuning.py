"""The numbers of a tuning, from records: every setting on the validation part, two on others."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from wheresight.interventions.grids import Axis, Grid
from wheresight.probes.candidates import NONE, Candidate
from wheresight.probes.evaluate import Evaluated
from wheresight.probes.scored import Draw, Scored, score
from wheresight.probes.tuning import Objective, choose
from wheresight.runs.evaluation import estimate, share
from wheresight.runs.evaluation_results import BenchmarkResult
from wheresight.runs.results import Estimate
from wheresight.runs.tune_plan import Plan
from wheresight.runs.tuned import (
    AxisValues,
    CandidateResult,
    Choice,
    ChosenBy,
    Compared,
    GridTuned,
)
from wheresight.statistics.clustered import Clusters

_UNDEFINED = "There are none of these questions."


class Numbers:
    """All settings on the validation part.

    Args:
        planned: the tuning.
        settings: the model as it is, then each setting, as their records are put together.
        found: records by what was run, all in one order.
    """

    def __init__(
        self,
        planned: Plan,
        settings: Sequence[Candidate],
        found: Mapping[str, Sequence[Evaluated]],
    ) -> None:
        self._planned = planned
        self._settings = settings
        self._unsure = [one.unsure(found) for one in settings]
        draw = _draws(planned)
        self._scored = [score(one.records(found), planned.reader, draw) for one in settings]
        drawn = [planned.objective.drawn(scored) for scored in self._scored]
        self._drawn = drawn
        self._choice = choose(drawn, [one.distance for one in settings])

    def choice(self) -> Choice:
        """What was chosen."""
        chosen = self._settings[self._choice.number]
        return Choice(
            spec=chosen.spec,
            tied=[self._settings[n].spec for n in self._choice.tied],
            at_the_end=_at_the_end(chosen, self._planned.grid.axes),
        )

    def candidates(self) -> list[CandidateResult]:
        """Every setting's number."""
        axes = [axis.name for axis in self._planned.grid.axes]
        again = self._choice.again
        return [
            CandidateResult(
                spec=one.spec,
                values=dict(zip(axes, one.values, strict=False)),
                objective=_number(self._planned.objective, self._scored[n]),
                minus_none=self._minus_none(n) if n else None,
                unsure=self._unsure[n],
                chosen_again=again[n] if again else None,
            )
            for n, one in enumerate(self._settings)
        ]

    def _minus_none(self, number: int) -> Estimate:
        difference = self._drawn[number] - self._drawn[0]
        return estimate(difference, self._planned.objective.difference_bounds, _UNDEFINED)

    def grid(self, grid: Grid, passes: Sequence[str]) -> GridTuned:
        """What was chosen among, and what was run for it."""
        return GridTuned(
            text=grid.text,
            axes=[AxisValues(name=axis.name, values=list(axis.values)) for axis in grid.axes],
            source=grid.source or None,
            passes=list(passes),
        )

    def chosen_by(self) -> ChosenBy:
        """What was made high."""
        aim = self._planned.objective
        return ChosenBy(objective=aim.name, label=aim.label, reader=self._planned.reader)


def compared(
    planned: Plan,
    result: BenchmarkResult,
    records: Mapping[str, Sequence[Evaluated]],
    chosen: str,
) -> Compared:
    """The chosen setting beside the model as it is, on questions it was not chosen on.

    Args:
        planned: the tuning.
        result: all numbers of these questions.
        records: of both, in one order.
        chosen: the setting.
    """
    draw, aim = _draws(planned), planned.objective
    none = score(records[NONE], planned.reader, draw)
    if chosen == NONE:
        return Compared(none=_number(aim, none), chosen=None, minus_none=None, result=result)
    other = score(records[chosen], planned.reader, draw)
    difference = aim.drawn(other) - aim.drawn(none)
    return Compared(
        none=_number(aim, none),
        chosen=_number(aim, other),
        minus_none=estimate(difference, aim.difference_bounds, _UNDEFINED),
        result=result,
    )


def _draws(planned: Plan) -> Draw:
    """Draws of clusters, made once for all settings of the same questions."""

    @functools.lru_cache(maxsize=4)
    def made(labels: tuple[str, ...]) -> Clusters:
        request = planned.request
        return Clusters(labels, replicates=request.replicates, seed=request.seed)

    return lambda labels: made(tuple(labels))


def _number(aim: Objective, scored: Scored) -> Estimate:
    drawn = aim.drawn(scored)
    if aim.trials is not None:
        return share(drawn, aim.trials(scored), _UNDEFINED)
    return estimate(drawn, aim.bounds, _UNDEFINED)


def _at_the_end(chosen: Candidate, axes: Sequence[Axis]) -> list[str]:
    """Axes of three or more numbers on which the chosen value is the first or last in size."""
    found = []
    for axis, value in zip(axes, chosen.values, strict=False):
        try:
            numbers = sorted(float(one) for one in axis.values)
        except ValueError:
            continue  # words have no order
        if len(numbers) > 2 and float(value) in (numbers[0], numbers[-1]):
            found.append(axis.name)
    return found
