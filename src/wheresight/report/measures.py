"""Which numbers a report shows, in which order, how each is written, and what each means.

The terminal, the pictures and the page read this one list, so that a number has one name, one
unit and one definition everywhere. A new number is one entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wheresight.report.numerals import Unit
from wheresight.runs.results import Estimate, OverallNumbers, Rates, Results


@dataclass(frozen=True)
class Measure:
    """One number of a whole grid.

    Attributes:
        name: stable name, for file names and anchors.
        label: what people read.
        unit: how it is written; see `written`.
        read: finds it in the numbers of an intervention or of a comparison.
        meaning: one or two sentences for the glossary.
        negatives: whether it exists only where absent pictures were asked about too.
    """

    name: str
    label: str
    unit: Unit
    read: Callable[[OverallNumbers], Estimate]
    meaning: str
    negatives: bool = False


_NO_NEGATIVES = Estimate.undefined("Only pictures that are there were asked about.")


def _balanced(field: str) -> Callable[[OverallNumbers], Estimate]:
    def read(numbers: OverallNumbers) -> Estimate:
        spread = numbers.balanced_spread
        return _NO_NEGATIVES if spread is None else getattr(spread, field)

    return read


MEASURES: tuple[Measure, ...] = (
    Measure(
        "hit-rate",
        "Hit rate",
        "share",
        lambda n: n.hit_rate,
        "Of the questions about a picture that is there, the share answered Yes. The papers call "
        "it accuracy. A model that always says Yes scores 100%.",
    ),
    Measure(
        "false-alarm-rate",
        "False-alarm rate",
        "share",
        lambda n: n.false_alarm_rate,
        "Of the questions about a picture that is not there, the share answered Yes. Lower is "
        "better. A model that always says Yes scores 100% here too.",
        negatives=True,
    ),
    Measure(
        "balanced-accuracy",
        "Balanced accuracy",
        "share",
        lambda n: n.balanced_accuracy,
        "The mean of two shares: Yes where the picture is there, No where it is not. Always "
        "saying Yes, always saying No and guessing all score 50%.",
        negatives=True,
    ),
    Measure(
        "auc",
        "AUC",
        "index",
        lambda n: n.auc,
        "The chance that the model leans more to Yes for a picture that is there than for one "
        "that is not, in the same cell. 0.5 is guessing, 1 is perfect. A general readiness to "
        "say Yes does not change it.",
        negatives=True,
    ),
    Measure(
        "d-prime",
        "d' (sensitivity)",
        "z",
        lambda n: n.d_prime,
        "How well Yes separates pictures that are there from those that are not, in standard "
        "deviations: z(hit rate) - z(false-alarm rate). 0 is guessing.",
        negatives=True,
    ),
    Measure(
        "criterion",
        "Criterion (bias)",
        "z",
        lambda n: n.criterion,
        "How readily the model says Yes, whatever is shown: -(z(hit rate) + z(false-alarm "
        "rate)) / 2. Below 0 it leans to Yes, above 0 to No.",
        negatives=True,
    ),
    Measure(
        "delta",
        "Delta of hit rate",
        "squared",
        lambda n: n.spread.delta,
        "The papers' measure of unevenness: the variance of the cells' hit rates, in percent "
        "squared. 0 is perfectly even. Chance alone makes it more than 0.",
    ),
    Measure(
        "delta-debiased",
        "Debiased Delta of hit rate",
        "squared",
        lambda n: n.spread.delta_debiased,
        "Delta minus the part that chance alone would bring about with so many items. It can "
        "fall below 0; near 0 means that no unevenness can be seen.",
    ),
    Measure(
        "balanced-delta-debiased",
        "Debiased Delta of balanced accuracy",
        "squared",
        _balanced("delta_debiased"),
        "The same for balanced accuracy: unevenness in being right, not in saying Yes.",
        negatives=True,
    ),
    Measure(
        "probit-spread",
        "Probit spread of hit rate",
        "z",
        lambda n: n.spread.probit_sd,
        "The standard deviation of the cells' z-transformed hit rates. Unlike Delta it does not "
        "shrink merely because all cells come near 100%.",
    ),
    Measure(
        "d-prime-spread",
        "Spread of d' over cells",
        "z",
        lambda n: n.d_prime_sd,
        "The standard deviation of d' over cells: how unevenly the model sees. Chance alone makes "
        "it more than 0.",
        negatives=True,
    ),
    Measure(
        "criterion-spread",
        "Spread of criterion over cells",
        "z",
        lambda n: n.criterion_sd,
        "The standard deviation of the criterion over cells: how unevenly the model leans to "
        "Yes. Chance alone makes it more than 0.",
        negatives=True,
    ),
    Measure(
        "worst-cell",
        "Worst cell, hit rate",
        "percent",
        lambda n: n.spread.worst,
        "The hit rate of the cell that has the lowest. With few items, chance alone makes some "
        "cell low.",
    ),
    Measure(
        "flip-rate",
        "Flip rate",
        "share",
        lambda n: n.agreement.flip_rate,
        "Take an item and two cells: the share in which the answer about the same picture "
        "changes when it moves from one to the other. 0% is fully steady.",
    ),
    Measure(
        "strict-hit-rate",
        "Yes in every cell",
        "share",
        lambda n: n.agreement.strict_accuracy_positive,
        "The share of items whose picture is found (answered Yes) wherever it stands.",
    ),
    Measure(
        "strict-accuracy",
        "Strict accuracy",
        "share",
        lambda n: n.agreement.strict_accuracy,
        "The share of items answered rightly in every cell, both where the picture is there and "
        "on every question about one that is not.",
        negatives=True,
    ),
    Measure(
        "neither-present",
        "Neither, picture there",
        "share",
        lambda n: n.neither_rate_positive,
        "The share of questions about a picture that is there whose answer is no spelling of Yes "
        "or No. It counts as wrong.",
    ),
    Measure(
        "neither-absent",
        "Neither, picture not there",
        "share",
        lambda n: n.neither_rate_negative,
        "The same for pictures that are not there. It counts as wrong.",
        negatives=True,
    ),
)


@dataclass(frozen=True)
class CellMeasure:
    """One number of one cell."""

    name: str
    label: str
    unit: Unit
    read: Callable[[Rates], Estimate]
    negatives: bool = False


CELL_MEASURES: tuple[CellMeasure, ...] = (
    CellMeasure(
        "balanced-accuracy", "Balanced accuracy", "share", lambda r: r.balanced_accuracy, True
    ),
    CellMeasure("hit-rate", "Hit rate", "share", lambda r: r.hit_rate),
    CellMeasure(
        "false-alarm-rate", "False-alarm rate", "share", lambda r: r.false_alarm_rate, True
    ),
    CellMeasure("auc", "AUC", "index", lambda r: r.auc, True),
    CellMeasure("d-prime", "d'", "z", lambda r: r.d_prime, True),
    CellMeasure("criterion", "Criterion", "z", lambda r: r.criterion, True),
)


def measures(results: Results) -> list[Measure]:
    """Return the measures that this run's protocol has."""
    return [m for m in MEASURES if asks_absent(results) or not m.negatives]


def cell_measures(results: Results) -> list[CellMeasure]:
    """Return the measures of a cell that this run's protocol has; the first is the main one."""
    return [m for m in CELL_MEASURES if asks_absent(results) or not m.negatives]


def asks_absent(results: Results) -> bool:
    """Tell whether pictures that are not there were asked about as well."""
    return results.protocol == "balanced"


def shape(results: Results) -> tuple[int, int]:
    """Return (rows, columns); a run whose grid is not known is drawn as one row."""
    if results.grid is None:
        return 1, max(1, results.counts.cells)
    return results.grid.rows, results.grid.columns


def place(results: Results, cell: int) -> str:
    """Name a cell for people, who count from 1."""
    if results.grid is None:
        return f"cell {cell}"
    row, column = divmod(cell, results.grid.columns)
    return f"row {row + 1}, column {column + 1}"
