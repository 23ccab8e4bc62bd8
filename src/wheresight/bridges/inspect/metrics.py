"""The numbers of the grid probe as metrics of Inspect.

Rates are shares of the questions given, so that Inspect's `grouped` makes them of each cell. What
compares cells within items is made by `wheresight.runs.summarise` from complete items alone, as in
results.json.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from inspect_ai.scorer import Metric, SampleScore, metric, value_to_float

from wheresight.errors import RunError
from wheresight.runs.results import Estimate, OverallResult
from wheresight.runs.summarise import summarise
from wheresight.stimuli.composites import parse_grid

_ANSWERS = ("yes", "no", "neither")
_to_float = value_to_float()


@metric
def hit_rate() -> Metric:
    """Share of Yes where the caption's picture is there, 0 to 1."""

    def measure(scores: list[SampleScore]) -> float:
        return _mean([_to_float(s.score.value) for s in scores if _of(s)["expected"]])

    return measure


@metric(scores="unreduced")
def false_alarm_rate() -> Metric:
    """Share of Yes where it is not there, 0 to 1."""

    def measure(scores: list[SampleScore]) -> float:
        return _mean([float(_answer(s) == "yes") for s in scores if not _of(s)["expected"]])

    return measure


@metric
def balanced_accuracy() -> Metric:
    """Mean of the shares of right answers where it is there and where it is not, 0 to 1.

    A model that always says Yes, or always No, is at 0.5.
    """

    def measure(scores: list[SampleScore]) -> float:
        right: dict[bool, list[float]] = {True: [], False: []}
        for s in scores:
            right[bool(_of(s)["expected"])].append(_to_float(s.score.value))
        return (_mean(right[True]) + _mean(right[False])) / 2

    return measure


@metric(scores="unreduced")
def spread(replicates: int = 2000, seed: int = 0) -> Metric:
    """What compares the cells of each item, and 95 % intervals: the numbers of results.json.

    Delta is the sample variance over cells of the hit rate, in percent squared (BaPA, arXiv
    2509.21984); `delta_debiased` is what is left of it without the noise floor. Intervals are from
    a bootstrap over key pictures; an epoch is an item of its own of the same key picture. Only
    complete items count (`items`); where there are none, all other numbers are NaN.

    Args:
        replicates, seed: of the bootstrap.
    """

    def measure(scores: list[SampleScore]) -> dict[str, float]:
        if not scores:
            return _numbers(None, 0)
        first = _of(scores[0])
        try:
            results = summarise(
                records(scores),
                configuration={},
                command="",
                protocol=first["protocol"],
                grid=parse_grid(first["grid"]),
                replicates=replicates,
                seed=seed,
            )
        except RunError:  # no item is complete, as under --limit
            return _numbers(None, 0)
        (found,) = results.interventions
        return _numbers(found.overall, results.counts.items)

    return measure


def records(scores: list[SampleScore]) -> pa.Table:
    """Records of the grid probe, as `wheresight.runs.records` has them, as far as text gives them.

    Raises:
        ValueError: scores of another scorer or another task.
    """
    asked: Counter[Any] = Counter()
    rows = []
    for s in scores:
        of = _of(s)
        epoch = asked[s.sample_id]
        asked[s.sample_id] += 1
        rows.append(
            {
                "item": of["item"] if epoch == 0 else f"{of['item']} epoch {epoch + 1}",
                "key": of["key"],
                "cell": of["cell"],
                "question": of["kind"],
                "intervention": "model",
                "expected": of["expected"],
                # Text has no margin; what is made of margins is not shown here.
                "margin": 0.0,
                "answer": _answer(s),
            }
        )
    return pa.Table.from_pylist(rows)


# Our names, and where results.json has each.
_SHOWN = {
    "balanced_accuracy": "balanced_accuracy",
    "hit_rate": "hit_rate",
    "false_alarm_rate": "false_alarm_rate",
    "delta": "spread.delta",
    "delta_noise_floor": "spread.noise_floor",
    "delta_debiased": "spread.delta_debiased",
    "balanced_delta_debiased": "balanced_spread.delta_debiased",
    "flip_rate": "agreement.flip_rate",
    "strict_accuracy": "agreement.strict_accuracy",
}
# These have metrics of their own: only their intervals are given here.
_RATES = ("balanced_accuracy", "hit_rate", "false_alarm_rate")
# These are shown without an interval: what is read is their difference.
_PLAIN = ("delta", "delta_noise_floor")


def _numbers(overall: OverallResult | None, items: int) -> dict[str, float]:
    numbers: dict[str, float] = {"items": items}
    for name, path in _SHOWN.items():
        found = None if overall is None else _look_up(overall, path)
        value, low, high = (None,) * 3 if found is None else (found.value, found.low, found.high)
        if name not in _RATES:
            numbers[name] = _number(value)
        if name not in _PLAIN:
            numbers |= {f"{name}_low": _number(low), f"{name}_high": _number(high)}
    return numbers


def _look_up(overall: OverallResult, path: str) -> Estimate | None:
    found: Any = overall
    for name in path.split("."):
        found = None if found is None else getattr(found, name)
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _of(score: SampleScore) -> Mapping[str, Any]:
    """What the task says of a question."""
    found = score.sample_metadata or {}
    if "expected" not in found:
        raise ValueError(
            f"The sample {score.sample_id!r} has no metadata of the grid probe. Expected a sample "
            "of the task wheresight/grid_probe."
        )
    return found


def _answer(score: SampleScore) -> str:
    answer = score.score.answer
    if answer not in _ANSWERS:
        raise ValueError(
            f"The score of sample {score.sample_id!r} has the answer {answer!r}; expected yes, no "
            "or neither, as the scorer wheresight/yes_no gives."
        )
    return answer
