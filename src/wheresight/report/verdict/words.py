"""What a comparison of both sides says, in plain words, no more than its intervals allow.

The plane counts items that are right at every place, so that neither saying Yes to everything nor
guessing moves a point up; a lower flip rate is said beside it, and never stands alone.
"""

from __future__ import annotations

from wheresight.report.numerals import Unit, interval, quantity, written
from wheresight.report.texts import one_line
from wheresight.runs.results import Estimate
from wheresight.runs.verdict import (
    BenchmarkNumbers,
    Compared,
    Placed,
    ProbeNumbers,
    Verdict,
    direction,
)

NEARLY_ALL = 0.98  # a share of Yes or No from which on an answer is called constant
FLOOR = 0.05  # a strict accuracy below which nothing can be told apart

_LABELS = {
    (1, 1): "better on both sides",
    (1, 0): "gains robustness",
    (1, -1): "robustness bought with awareness",
    (0, 1): "gains awareness",
    (0, 0): "no difference seen",
    (0, -1): "loses awareness",
    (-1, 1): "awareness bought with robustness",
    (-1, 0): "loses robustness",
    (-1, -1): "worse on both sides",
}

ROBUSTNESS = "Right at every place"
AWARENESS = "Knows where"
AXES = (
    "Across: the share of items that are answered rightly in every cell of the grid, where the "
    "picture is there and on every question about one that is not (strict accuracy). A model that "
    "always says Yes, always says No, or guesses, is at 0. Up: accuracy on questions about places, "
    "with guessing set to 0 and all right to 100."
)


def said(verdict: Verdict) -> Verdict:
    """Return the verdict with its words, and with the cautions that its numbers call for."""
    placed = [
        one.model_copy(update={"verdict": label(one, verdict), "sentence": sentence(one, verdict)})
        for one in verdict.interventions
    ]
    return verdict.model_copy(
        update={"interventions": placed, "cautions": [*verdict.cautions, *_cautions(verdict)]}
    )


def label(one: Placed, verdict: Verdict) -> str:
    """Say it in a few words, for a heading."""
    same = _constant(one)
    if same:
        return f"nearly always {same}"
    if one.intervention == verdict.reference:
        return "reference"
    return _LABELS[direction(one.robustness.difference), direction(one.awareness.difference)]


def sentence(one: Placed, verdict: Verdict) -> str:
    """Say how an intervention differs from the reference, with numbers, after its name."""
    same = _constant(one)
    if same:
        return (
            f"answers {same} to nearly every question of the probe, so an even grid and "
            f"few flips are no merit; {_level(one)}."
        )
    if one.intervention == verdict.reference:
        return f"the reference; {_level(one)}."
    robust, aware = _robust(one), _aware(one)
    signs = (_robust_sign(one), direction(one.awareness.difference))
    if signs == (0, 0) and not _flips(one) and not _singled_out(one):
        return (
            f"no difference that the data shows ({ROBUSTNESS.lower()} "
            f"{_points(one.robustness.difference)}; awareness "
            f"{_points(one.awareness.difference)})."
        )
    joint = ", but " if signs[0] * signs[1] < 0 else "; "
    return f"{robust}{joint}{aware}."


def front_note(verdict: Verdict) -> str:
    """Say who is on the front, and whose place on it or off it the intervals leave open."""
    placed = verdict.interventions
    on = [one.intervention for one in placed if one.standing.on_front]
    open_ = [one for one in placed if not one.standing.settled]
    text = f"On the Pareto front, by point estimates: {_listed(on)}."
    if not open_:
        return f"{text} The intervals leave no doubt about it."
    said_on = [one.intervention for one in open_ if one.standing.on_front]
    said_off = [one.intervention for one in open_ if not one.standing.on_front]
    told = [
        f"{_listed(names)} {where}"
        for names, where in ((said_on, "may be off it"), (said_off, "may be on it"))
        if names
    ]
    return f"{text} The intervals cannot decide: {', and '.join(told)}."


def multiplicity_note(verdict: Verdict) -> str:
    """Say how many differences were looked at, and how many would stand out by chance."""
    found = verdict.multiplicity
    if not found.differences:
        return "Nothing was compared: there is one intervention alone."
    level = f"{100 * verdict.bootstrap.level:g}%"
    reference = one_line(verdict.reference, 60)
    pairs = (
        f" For the front, {found.pairs} pairs of interventions were compared on both axes."
        if found.pairs > 1
        else ""
    )
    return (
        f"{found.differences} differences from {reference} were looked at, each "
        f"with its own {level} interval; {found.excluding_zero} of these intervals do not hold 0. "
        f"If no intervention did anything, about {found.expected_by_chance:.1f} would not, though "
        f"not independently of each other. Nothing is corrected for their number.{pairs}"
    )


def counted(verdict: Verdict) -> str:
    """Say how many items and questions the two axes are of."""
    items = sum(probe.items for probe in verdict.probes)
    questions = sum(benchmark.questions for benchmark in verdict.benchmarks)
    return f"{quantity(items, 'item')} across, {quantity(questions, 'question')} up"


def blind(verdict: Verdict) -> float | None:
    """The mean over benchmarks on blank pictures; None where one was not asked about them."""
    found = [benchmark.blind for benchmark in verdict.benchmarks]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def missing_note(verdict: Verdict) -> list[str]:
    """Say which interventions are not on the plane, and what they lack."""
    return [
        f"{one_line(m.intervention, 120)} is not on the plane: it was not measured by "
        f"{_listed(m.lacks)}."
        for m in verdict.missing
    ]


def _constant(one: Placed) -> str:
    """Yes or No, where a probe got nearly always that answer; empty elsewhere."""
    for probe in one.probes:
        rates = (probe.hit_rate.estimate.value, probe.false_alarm_rate.estimate.value)
        if all(rate is not None and rate >= NEARLY_ALL for rate in rates):
            return "Yes"
        if all(rate is not None and rate <= 1 - NEARLY_ALL for rate in rates):
            return "No"
    return ""


def _level(one: Placed) -> str:
    return (
        f"{ROBUSTNESS.lower()} {_with_ends(one.robustness.estimate)}, awareness "
        f"{_with_ends(one.awareness.estimate)}"
    )


def _flips(one: Placed) -> int:
    """The direction of the flip rate, where one probe alone was run."""
    return direction(one.probes[0].flip_rate.difference) if len(one.probes) == 1 else 0


def _robust_sign(one: Placed) -> int:
    return direction(one.robustness.difference) or -_flips(one)


def _robust(one: Placed) -> str:
    strict, flips = direction(one.robustness.difference), _flips(one)
    at_every = f"({_points(one.robustness.difference)})"
    if not flips:
        if not strict:
            return (
                f"no difference in robustness that the data shows ({ROBUSTNESS.lower()} "
                f"{_points(one.robustness.difference)})"
            )
        more = "more" if strict > 0 else "less"
        return f"is {more} often {ROBUSTNESS.lower()} {at_every}"
    change = "less" if flips < 0 else "more"
    first = (
        f"answers change {change} with place (flip rate "
        f"{_points(one.probes[0].flip_rate.difference)})"
    )
    if strict == -flips:
        more = "more" if strict > 0 else "less"
        return f"{first}, and it is {more} often {ROBUSTNESS.lower()} {at_every}"
    if not strict:
        return (
            f"{first} while it is {ROBUSTNESS.lower()} neither more nor less often as far as the "
            f"data shows {at_every}{_alarms(one.probes[0])}"
        )
    more = "more" if strict > 0 else "less"
    alarms = _alarms(one.probes[0])
    return f"{first}, yet it is {more} often {ROBUSTNESS.lower()} {at_every}{alarms}"


def _alarms(probe: ProbeNumbers) -> str:
    """That false alarms rise too, where they do: steadiness may then be a lean to Yes."""
    difference = probe.false_alarm_rate.difference
    if direction(difference) <= 0:
        return ""
    return f" and says Yes more often to what is not there ({_points(difference)})"


def _aware(one: Placed) -> str:
    sign = direction(one.awareness.difference)
    if len(one.benchmarks) == 1:
        (only,) = one.benchmarks
        numbers = f"({_on(only)})"
    else:
        points = _points(one.awareness.difference)
        mean = f"chance-corrected mean of {len(one.benchmarks)} benchmarks {points}"
        numbers = f"({'; '.join([mean, *map(_on, _singled_out(one))])})"
    if not sign:
        return f"no difference in awareness that the data shows {numbers}"
    return f"it knows {'more' if sign > 0 else 'less'} where things are {numbers}"


def _on(benchmark: BenchmarkNumbers) -> str:
    label = one_line(benchmark.benchmark, 60)
    return f"accuracy on {label} {_points(benchmark.accuracy.difference)}"


def _singled_out(one: Placed) -> list[BenchmarkNumbers]:
    """Benchmarks whose own difference does not hold 0."""
    return [b for b in one.benchmarks if direction(b.accuracy.difference)]


def _cautions(verdict: Verdict) -> list[str]:
    """What must be known before the numbers are believed."""
    found: dict[str, list[str]] = {}
    for one in verdict.interventions:
        for probe in one.probes:
            for text in probe.warnings:
                found.setdefault(text, []).append(one.intervention)
    told = [f"{_listed(who)}: {text}" for text, who in found.items()]
    told += [
        f"{probe.label}: {probe.items_left_out:,} items are left out, because some intervention "
        f"has not answered all about them; {probe.items:,} are counted."
        for probe in verdict.probes
        if probe.items_left_out
    ]
    for name, tests in (
        (ROBUSTNESS, [[p.strict_accuracy for p in one.probes] for one in verdict.interventions]),
        (AWARENESS, [[b.accuracy for b in one.benchmarks] for one in verdict.interventions]),
    ):
        if any(len(own) > 1 and any(_at_an_end(c) for c in own) for own in tests):
            told.append(
                f"{name}: some test has all right or none, where a bootstrap has no width; the "
                "intervals of the mean over tests are then too narrow."
            )
    values = [one.robustness.estimate.value for one in verdict.interventions]
    if all(value is not None and value < FLOOR for value in values):
        told.append(
            f"No intervention is {ROBUSTNESS.lower()} in {100 * FLOOR:.0f}% of the items or more: "
            "at this floor the axis can tell little apart. Look at AUC and spread instead, or "
            "measure on easier pictures."
        )
    return told


def _at_an_end(compared: Compared) -> bool:
    return compared.estimate.value in (0.0, 1.0)


def _points(difference: Estimate | None) -> str:
    if difference is None or difference.value is None:
        return "undefined"
    value = written(difference.value, "share", signed=True)
    if difference.low is None or difference.high is None:
        return f"{value} points, no interval"
    return f"{value} points, {interval(difference, 'share', signed=True)}"


def _with_ends(estimate: Estimate, unit: Unit = "share") -> str:
    value = written(estimate.value, unit)
    ends = interval(estimate, unit)
    return f"{value}% ({ends})" if ends != "-" else f"{value}%"


def _listed(names: list[str]) -> str:
    return ", ".join(one_line(name, 60) for name in names) or "nothing"
