"""What the numbers of an evaluation say, in plain words.

A sentence never says more than its interval: where the interval of a difference holds 0, these
questions show none, which is not the same as there being none.
"""

from __future__ import annotations

from wheresight.report.evaluation.numbers import Baseline, baselines
from wheresight.report.numerals import interval, written
from wheresight.report.words import named
from wheresight.runs.evaluation_results import BenchmarkResult, ControlAgreement
from wheresight.runs.results import Estimate

TWO_SIDES = (
    "This page shows awareness: whether the model knows where things are when it is asked. Whether "
    "the same picture, moved, keeps its answer is the other side, which wheresight probe shows. A "
    "method can buy one by selling the other."
)
ABOVE = "above every baseline"
NOT_ABOVE = "not above every baseline"
UNKNOWN = "no interval"


def highest(entry: BenchmarkResult) -> Baseline:
    """The baseline that reaches most; the first of those that are equal."""
    return max(baselines(entry), key=lambda base: base.share)


def verdict(entry: BenchmarkResult, accuracy: Estimate) -> str:
    """Does the interval lie above all baselines?"""
    if accuracy.low is None:
        return UNKNOWN
    return ABOVE if accuracy.low > highest(entry).share else NOT_ABOVE


def summary(entry: BenchmarkResult) -> str:
    """The first intervention beside the best baseline that does not look."""
    first = entry.interventions[0]
    accuracy = first.readers[0].accuracy
    best = highest(entry)
    where = named(first.intervention)
    where = where[0].upper() + where[1:] if first.intervention == "none" else f"Under {where}, it"
    return (
        f"{where} picks the right answer in {_with_interval(accuracy)} of {entry.questions:,} "
        f"questions. The best baseline that does not look at place is {best.label}: "
        f"{written(best.share, 'share')}%."
    )


def comparison(entry: BenchmarkResult, number: int) -> str:
    """One intervention beside the first."""
    side, first = entry.interventions[number], entry.interventions[0]
    reader = side.readers[0]
    difference = reader.minus_first
    found = f"{side.intervention}: {_with_interval(reader.accuracy)}"
    if difference is None or difference.value is None:
        return f"{found}."
    points = f"{written(difference.value, 'share', signed=True)} points"
    ends = interval(difference, "share", signed=True)
    low, high = difference.low, difference.high
    if low is None or high is None:
        said = "the difference has no interval"
    elif low > 0:
        said = "more are right"
    elif high < 0:
        said = "fewer are right"
    else:
        said = "these questions show no difference"
    return f"{found}, {points} ({ends}) from {named(first.intervention)}: {said}."


def control(entry: BenchmarkResult) -> str:
    """What became of the answers under a control; empty where there is nothing to say."""
    found = entry.interventions[0].readers[0].agreement
    if found is None:
        return ""
    first = named(entry.interventions[0].intervention)
    parts = []
    if found.answer_changes:
        parts.append(
            f"Of the {found.answer_changes:,} questions whose right answer changes, "
            f"{_with_interval(found.followed)} of the answers of {first} follow the change, and "
            f"{_with_interval(found.stayed)} stay the same: {_looks(found)}"
        )
    if found.answer_stays:
        parts.append(
            f"Of the {found.answer_stays:,} questions whose right answer stays, "
            f"{_with_interval(found.same)} get the same answer again."
        )
    return " ".join(parts)


def _looks(found: ControlAgreement) -> str:
    followed, stayed = found.followed, found.stayed
    ends = (followed.low, followed.high, stayed.low, stayed.high)
    if any(end is None for end in ends):
        return "there is no interval to tell by."
    if (followed.low or 0) > (stayed.high or 0):
        return "more go where the things go than stay."
    if (stayed.low or 0) > (followed.high or 0):
        return "more stay than go where the things go."
    return "neither is clearly more frequent."


def _with_interval(share: Estimate) -> str:
    if share.value is None:
        return "an unknown share"
    ends = interval(share, "share")
    value = f"{written(share.value, 'share')}%"
    return value if ends == "-" else f"{value} ({ends})"
