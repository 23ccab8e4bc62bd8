"""Which numbers of a probe and of a benchmark are shown, in which order, and how written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from wheresight.report.measures import MEASURES
from wheresight.report.numerals import Unit
from wheresight.runs.verdict import Compared, Placed

# Names in the list of measures, and fields of the numbers of a probe.
_OF_PROBES = {
    "strict-accuracy": "strict_accuracy",
    "flip-rate": "flip_rate",
    "delta": "delta",
    "delta-debiased": "delta_debiased",
    "balanced-delta-debiased": "balanced_delta_debiased",
    "auc": "auc",
    "balanced-accuracy": "balanced_accuracy",
    "false-alarm-rate": "false_alarm_rate",
    "hit-rate": "hit_rate",
}
_OF_BENCHMARKS = {
    "accuracy": ("Accuracy", "The share of right answers."),
    "chance_corrected": (
        "Chance-corrected accuracy",
        "(accuracy - chance) / (1 - chance): guessing is 0%, all right is 100%, below 0% is worse "
        "than guessing. With several benchmarks the axis is their mean, each counting alike.",
    ),
}


@dataclass(frozen=True)
class Column:
    """One number of every intervention.

    Attributes:
        field: of the numbers of a probe or a benchmark.
        label: what stands over it.
        unit: how it is written.
        meaning: what it is.
        read: finds it.
    """

    field: str
    label: str
    unit: Unit
    meaning: str
    read: Callable[[Placed], Compared]


def of_probe(n: int) -> list[Column]:
    """The numbers of the n-th probe."""
    measures = {measure.name: measure for measure in MEASURES}
    return [
        Column(
            field, measures[name].label, measures[name].unit, measures[name].meaning,
            _reading("probes", n, field),
        )
        for name, field in _OF_PROBES.items()
    ]  # fmt: skip


def of_benchmark(n: int) -> list[Column]:
    """The numbers of the n-th benchmark."""
    return [
        Column(field, label, "share", meaning, _reading("benchmarks", n, field))
        for field, (label, meaning) in _OF_BENCHMARKS.items()
    ]


def _reading(
    side: Literal["probes", "benchmarks"], n: int, field: str
) -> Callable[[Placed], Compared]:
    def read(one: Placed) -> Compared:
        found: Compared = getattr(getattr(one, side)[n], field)
        return found

    return read
