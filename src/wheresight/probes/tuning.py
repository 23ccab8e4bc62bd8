"""Choose one setting by its number on a validation part, and say how sure that choice is.

Legend: C candidates, R replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.errors import RunError, unknown_name
from wheresight.probes.scored import Scored
from wheresight.statistics.clustered import Drawn

# Sums of one count in another order may differ in the last digits.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Objective:
    """A number to choose by; the higher the better.

    Attributes:
        name: for programs and for --objective.
        label: for people.
        read: takes it from what a reader makes of the records; None where there is no such number.
        trials: how many independent things it is a share of; None if it is no share.
        least: the least that it can be; the most is 1.
    """

    name: str
    label: str
    read: Callable[[Scored], Drawn | None]
    trials: Callable[[Scored], int] | None
    least: float = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that it can be."""
        return self.least, 1.0

    @property
    def difference_bounds(self) -> tuple[float, float]:
        """The same for the difference of two."""
        return self.least - 1.0, 1.0 - self.least

    def drawn(self, scored: Scored) -> Drawn:
        """The number with its replicates; NaN without any where it is not known."""
        found = self.read(scored)
        return Drawn(np.array(np.nan), np.empty((0,))) if found is None else found


OBJECTIVES = {
    one.name: one
    for one in (
        Objective("accuracy", "accuracy", lambda s: s.accuracy, lambda s: s.clusters),
        Objective("macro", "mean accuracy of the categories", lambda s: s.macro, None),
        Objective(
            "chance-corrected", "accuracy above guessing", lambda s: s.corrected, None, -np.inf
        ),
        Objective(
            "pairs",
            "share of pairs that are all right",
            lambda s: s.pairs.share if s.pairs else None,
            lambda s: s.pairs.clusters if s.pairs else 0,
        ),
        Objective(
            "sets",
            "share of sets that are all right",
            lambda s: s.sets.share if s.sets else None,
            lambda s: s.sets.clusters if s.sets else 0,
        ),
        Objective(
            "balanced-accuracy",
            "balanced accuracy of Yes and No",
            lambda s: s.yes_no.balanced_accuracy if s.yes_no else None,
            None,
        ),
    )
}


def objective(name: str) -> Objective:
    """The objective of a name.

    Raises:
        RunError: if there is none.
    """
    if name not in OBJECTIVES:
        raise RunError(unknown_name("objective", name, OBJECTIVES))
    return OBJECTIVES[name]


@dataclass(frozen=True)
class Choice:
    """What was chosen among candidates.

    Attributes:
        number: of the chosen one.
        tied: numbers of the others that reach the same.
        again: for each candidate, the share of bootstrap draws of the validation part in which it
            would have been chosen; empty where there are no draws.
    """

    number: int
    tied: tuple[int, ...]
    again: tuple[float, ...]


def choose(drawn: Sequence[Drawn], distances: Sequence[float]) -> Choice:
    """Choose the highest number; of equals the one nearest the model as it is, then the first.

    Args:
        drawn: each candidate's number with its replicates, all of the same draws; the first is the
            model as it is.
        distances: of each candidate from the model as it is; that of the first is 0.

    Raises:
        RunError: if no candidate has a number.
    """
    values = np.array([float(one.value) for one in drawn])
    if not np.isfinite(values).any():
        raise RunError(
            "The number to choose by is undefined for every setting: the validation part has "
            "nothing to compute it from. Choose by accuracy, or on a larger part."
        )
    order = sorted(range(len(drawn)), key=lambda n: (distances[n], n))  # nearest first
    best = values >= np.nanmax(values) - _EQUAL
    number = next(n for n in order if best[n])
    tied = tuple(n for n in range(len(drawn)) if best[n] and n != number)
    return Choice(number, tied, _again(drawn, order))


def _again(drawn: Sequence[Drawn], order: Sequence[int]) -> tuple[float, ...]:
    if not len(drawn[0].replicates):
        return ()
    held = np.stack([drawn[n].replicates for n in order])  # (C, R), nearest first
    held = np.where(np.isfinite(held), held, -np.inf)
    held = held[:, np.isfinite(held).any(0)]
    winners = (held >= held.max(0) - _EQUAL).argmax(0)  # the first of the best
    shares = np.bincount(winners, minlength=len(drawn)) / max(1, held.shape[1])
    return tuple(float(shares[order.index(n)]) for n in range(len(drawn)))
