"""What must be read together with the numbers: sentences of warning, made from results alone."""

from __future__ import annotations

from dataclasses import dataclass

from wheresight.report.numerals import interval, level, written
from wheresight.report.words import above, answering, below, named
from wheresight.runs.results import Estimate, InterventionResult, Results

_OFTEN_NEITHER = 0.10


@dataclass(frozen=True)
class Caution:
    """Something that must be read together with the numbers of these interventions."""

    interventions: tuple[str, ...]
    text: str


def cautions(results: Results) -> list[Caution]:
    """List what a reader must know before believing a number; the results' own warnings first."""
    found: dict[str, list[str]] = {}
    for result in results.interventions:
        for text in [*result.warnings, *_own_cautions(result)]:
            found.setdefault(text, []).append(result.intervention)
    for compared in results.comparisons:
        alarms = compared.overall.false_alarm_rate
        if above(alarms):
            ends = f"{level(results)} interval {interval(alarms, 'share')}"
            text = (
                f"False alarms rise by {written(alarms.value, 'share')} points against "
                f"{named(compared.a)} ({ends}){_with_hits(compared.overall.hit_rate)}"
            )
            found.setdefault(text, []).append(compared.b)
    return [Caution(tuple(dict.fromkeys(who)), text) for text, who in found.items()]


def _own_cautions(result: InterventionResult) -> list[str]:
    """Cautions that are due whoever made the results, unless their own warnings say as much."""
    overall, told = result.overall, " ".join(result.warnings)
    found = []
    same = answering(overall)
    if same in ("yes", "no") and "Yes" not in told:
        word = same.capitalize()
        found.append(f"It answers {word} to nearly everything, so its evenness is no merit.")
    kinds = (
        ("there", overall.neither_rate_positive),
        ("not there", overall.neither_rate_negative),
    )
    often = [
        f"{written(rate.value, 'share')}% of the questions about pictures that are {kind}"
        for kind, rate in kinds
        if rate.value is not None and rate.value >= _OFTEN_NEITHER
    ]
    if often and "neither" not in told:
        found.append(
            f"The answer is neither Yes nor No in {' and in '.join(often)}. Those count as wrong; "
            "the margins, and AUC, still say to which of the two the model leans."
        )
    return found


def _with_hits(hits: Estimate) -> str:
    """What a rise of false alarms means beside the change of hits."""
    if above(hits):
        return ": part of the higher hit rate is a greater readiness to say Yes."
    if below(hits):
        points = written(hits.value, "share", signed=True)
        return (
            f" while hits fall ({points} points): it is worse at telling what is there from what "
            "is not."
        )
    return ", and hits do not."
