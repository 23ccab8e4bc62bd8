"""What the numbers say, in plain words: pure functions of results, shared by terminal and page.

A sentence never says more than its interval. Where an interval holds 0, the items show no
difference, which is not the same as there being none; and an even grid is no merit in a model
that says Yes to everything.
"""

from __future__ import annotations

import shlex
from typing import Literal

from wheresight.pocket import NAMES
from wheresight.report.measures import (
    asks_absent,
    place,
)
from wheresight.report.numerals import (
    interval,
    level,
    p_value,
    written,
)
from wheresight.runs.results import (
    CellResult,
    Comparison,
    Estimate,
    InterventionResult,
    OverallNumbers,
    Results,
    Spread,
)

NEARLY_ALL = 0.98  # a share from which on "nearly every" is said
NEARLY_NONE = 0.02
NEAR_CHANCE = 0.55  # an AUC below which the model is called barely better than guessing
MOSTLY_NEITHER = 0.50
MOST_OF_CHANGE = 0.5

Answering = Literal["yes", "no", "neither", "mixed"]

TWO_SIDES = (
    "This report shows robustness: whether the same picture, moved, gets the same answer. It does "
    "not show awareness: whether the model knows where a picture is when it is asked. A method "
    "can buy evenness over places by making the model blind to place, so read this together with "
    "a benchmark that asks about places. One that needs no download:"
)


def model_under(spec: str) -> str:
    """Name the model under an intervention, as the subject of a sentence."""
    return "The model as published" if spec == "none" else f"With {spec}, the model"


def named(spec: str) -> str:
    """Name an intervention within a sentence, where the bare word none would mislead."""
    return "the model as published" if spec == "none" else spec


def other_side(results: Results) -> str:
    """The command that asks the same model about places, where its name is known."""
    told = results.configuration
    if "model" not in told:
        return "wheresight evaluate -b 2ds"
    parts = ["wheresight", "evaluate", "--model", str(told["model"])]
    if told.get("adapter"):
        parts += ["--adapter", "DIR"]
    parts += ["-b", "2ds"]
    for result in results.interventions:
        parts += ["-i", result.intervention]
    return shlex.join([*parts, "--out", "asked"])


def scope(results: Results) -> str:
    """What the model is, where it is one that comes with this package; else nothing."""
    model = results.configuration.get("model")
    if model not in NAMES:
        return ""
    return (
        f"{model} is a toy that comes with wheresight, trained from scratch on emoji and shapes "
        "and under no intervention: what holds for it need not hold for the models that people use."
    )


def answering(numbers: OverallNumbers) -> Answering:
    """Tell whether nearly all answers are the same, whatever is shown."""
    hits, alarms = numbers.hit_rate.value, numbers.false_alarm_rate.value
    shares = [
        s
        for s in (numbers.neither_rate_positive.value, numbers.neither_rate_negative.value)
        if s is not None
    ]
    if shares and sum(shares) / len(shares) >= MOSTLY_NEITHER:
        return "neither"
    if hits is None:
        return "mixed"
    if hits >= NEARLY_ALL and (alarms is None or alarms >= NEARLY_ALL):
        return "yes"
    if hits <= NEARLY_NONE and (alarms is None or alarms <= NEARLY_NONE):
        return "no"
    return "mixed"


def summary(results: Results, result: InterventionResult) -> str:
    """Say in one sentence what the numbers of one intervention mean."""
    who, overall = model_under(result.intervention), result.overall
    if overall.hit_rate.value is None:
        return f"{who} has no hit rate here: {_because(overall.hit_rate)}"
    same = answering(overall)
    if same != "mixed":
        return f"{who} {_same_answer(results, overall, same)}"
    guess = _guessing(results, overall.auc)
    return f"{who} {guess}" if guess else f"{who} {_places(results, result)}"


def verdict(results: Results, result: InterventionResult) -> str:
    """Say the same in two or three words, for a heading."""
    same = answering(result.overall)
    if same == "neither":
        return "mostly no Yes or No"
    if same != "mixed":
        return f"nearly always {same.capitalize()}"
    if _guessing(results, result.overall.auc):
        return "near guessing"
    unevenness = main_spread(results, result.overall).delta_debiased
    if unevenness.low is None:
        return "unevenness unknown"
    return "place matters" if unevenness.low > 0 else "no difference seen"


def comparison(results: Results, compared: Comparison) -> str:
    """Say in one sentence how b differs from a."""
    b_overall = results.intervention(compared.b).overall
    against = f"Compared with {named(compared.a)}, {named(compared.b)}"
    same = answering(b_overall)
    if same != "mixed":
        rest = _same_answer(results, b_overall, same)
        return f"{against} must not be called better: it {rest}"
    change = _change(compared.overall, asks_absent(results))
    evenness = main_spread(results, compared.overall).delta_debiased
    sentence = (
        f"Compared with {named(compared.a)}, {named(compared.b)} {_evenness(evenness)} and {change}"
    )
    if above(compared.overall.false_alarm_rate):
        points = written(compared.overall.false_alarm_rate.value, "share", signed=True)
        worse = below(compared.overall.balanced_accuracy) or above(evenness)
        joint = ", and" if worse else ", but also"
        sentence += f"{joint} says Yes more often to what is not there ({points} points)"
    if criterion_explains(compared):
        share = compared.criterion_shift.share.value or 0.0
        how_much = "all" if share >= 1 else f"about {written(share, 'whole')}%"
        sentence += (
            f"; a plain shift towards {_towards(compared)} would by itself explain {how_much} of "
            "the change in Delta of the hit rate"
        )
    return sentence + "."


def protocol_note(results: Results) -> str:
    """Say what was asked, and what that can and cannot show."""
    if asks_absent(results):
        return (
            "Every picture was asked about where it is there and where it is not (balanced "
            "protocol), so that saying Yes to everything earns nothing."
        )
    return (
        "Only pictures that are there were asked about (paper protocol), so that Yes is always "
        "right: a model that says Yes to everything would score 100% with Delta 0. Run the "
        "balanced protocol before drawing conclusions."
    )


def cochran(result: InterventionResult) -> str:
    """Say what Cochran's Q says about the hit rates of one intervention."""
    q = result.overall.cochran_q
    if q.p is None or q.statistic is None:
        return f"Cochran's Q is undefined: {(q.reason or 'it was not computed.').rstrip()}"
    return (
        f"Cochran's Q {q.statistic:.1f}, {q.degrees_of_freedom} degrees of freedom, p "
        f"{_equals(p_value(q.p))}; {q.informative_items:,} items are neither right in all cells "
        "nor wrong in all."
    )


def mcnemar(compared: Comparison, results: Results) -> str:
    """Say in how many (question, cell) tests a and b differ after Holm's correction."""
    tests = compared.mcnemar
    if not tests:
        return "No cell could be tested by itself."
    differ = [t for t in tests if t.p_holm < 1 - results.bootstrap.level]
    least = min(t.p_holm for t in tests)
    return (
        f"McNemar's test finds a difference in {len(differ)} of {len(tests)} cells and questions "
        f"after Holm's correction; the smallest corrected p is {p_value(least)}."
    )


def criterion_note(compared: Comparison) -> str:
    """Say how much of the change in Delta a pure criterion shift explains."""
    shift = compared.criterion_shift
    if shift.share.value is None:
        return f"What share of it a criterion shift explains is undefined: {_because(shift.share)}"
    if shift.share.low is None or shift.share.high is None:
        ends = ""
    else:
        ends = f" ({interval(shift.share, 'whole')}%)"
    towards, delta = _towards(compared), written(shift.delta_shifted.value, "squared")
    said = (
        f"Had {named(compared.a)} only become readier to say {towards}, by the same constant in "
        f"every cell, its Delta of the hit rate would be {delta} %²; that "
    )
    if shift.share.value < 0:
        return said + "alone would have changed it the other way."
    return said + f"explains {written(shift.share.value, 'whole')}%{ends} of the change."


def criterion_explains(compared: Comparison) -> bool:
    """Tell whether a pure criterion shift is known to explain much of Delta's change."""
    share = compared.criterion_shift.share
    return share.value is not None and share.value >= MOST_OF_CHANGE and above(share)


def main_spread(results: Results, numbers: OverallNumbers) -> Spread:
    """Return the spread that answers the question: of being right, or else of saying Yes."""
    if asks_absent(results) and numbers.balanced_spread is not None:
        return numbers.balanced_spread
    return numbers.spread


def main_rate(results: Results, cell: CellResult) -> Estimate:
    """Return the rate that belongs to `main_spread`."""
    return cell.balanced_accuracy if asks_absent(results) else cell.hit_rate


def _same_answer(results: Results, overall: OverallNumbers, same: Answering) -> str:
    if same == "neither":
        return (
            "mostly answers with something that is neither Yes nor No, so these numbers say more "
            "about the form of its answers than about what it sees."
        )
    word = same.capitalize()
    hits = f"{written(overall.hit_rate.value, 'share')}%"
    if overall.false_alarm_rate.value is None:
        meaning = (
            "pictures that are not there were not asked about, so this may be good sight or "
            "nothing but a habit of saying Yes."
            if same == "yes"
            else "it finds hardly any picture that is there."
        )
        return f"answers {word} to nearly every question ({hits} Yes); {meaning}"
    alarms = f"{written(overall.false_alarm_rate.value, 'share')}%"
    return (
        f"answers {word} to nearly every question, whether the picture is there ({hits} Yes) or "
        f"not ({alarms} Yes), so an even grid here says nothing about what it sees."
    )


def _guessing(results: Results, auc: Estimate) -> str:
    if auc.value is None or auc.low is None or auc.high is None:
        return ""
    said = (
        f"(AUC {written(auc.value, 'index')}, {level(results)} interval {interval(auc, 'index')})"
    )
    rest = "so differences between places say little about what it sees."
    if auc.low <= 0.5 <= auc.high:
        return f"cannot be told from guessing with these items {said}, {rest}"
    if auc.value < 0.5:
        return f"leans to Yes more where the picture is not there than where it is {said}, {rest}"
    if auc.value < NEAR_CHANCE:
        return f"is barely better than guessing {said}, {rest}"
    return ""


def _places(results: Results, result: InterventionResult) -> str:
    spread = main_spread(results, result.overall)
    unevenness, items = spread.delta_debiased, results.counts.items
    verb, whom = ("is right in", "cases") if asks_absent(results) else ("says Yes to", "pictures")
    rates = [(main_rate(results, cell).value, cell.cell) for cell in result.cells]
    known = [(rate, cell) for rate, cell in rates if rate is not None]
    average = f"{written(spread.average.value, 'percent')}%"
    if unevenness.value is None or unevenness.low is None or not known:
        return (
            f"{verb} {average} of {whom}; whether its places differ cannot be said: "
            f"{_because(unevenness)}"
        )
    said = (
        f"debiased Delta of {_main_name(results)} {written(unevenness.value, 'squared')} %², "
        f"{level(results)} interval {interval(unevenness, 'squared')}"
    )
    if unevenness.low <= 0:
        lean = _leaning(results, result)
        return (
            f"{verb} {average} of {whom}, with no difference between places that these "
            f"{items:,} items can show ({said}){lean}."
        )
    best, worst = max(known, key=lambda k: (k[0], -k[1])), min(known)
    return (
        f"does not do equally well everywhere: it {verb} {written(best[0], 'share')}% of "
        f"{whom} at {place(results, best[1])} but {written(worst[0], 'share')}% at "
        f"{place(results, worst[1])}, more unevenness than chance brings about with {items:,} "
        f"items ({said})."
    )


def _leaning(results: Results, result: InterventionResult) -> str:
    """Add, where accuracy looks even, that the readiness to say Yes does not."""
    hits = result.overall.spread.delta_debiased
    if asks_absent(results) and hits.low is not None and hits.low > 0:
        return "; how readily it says Yes to a picture that is there does differ between places"
    return ""


def _evenness(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return "cannot be compared in evenness over places"
    if difference.high < 0:
        return "is more even over places"
    if difference.low > 0:
        return "is less even over places"
    return "shows no difference in evenness over places that these items can show"


def _change(difference: OverallNumbers, absent: bool) -> str:
    estimate = difference.balanced_accuracy if absent else difference.hit_rate
    verb = "is right" if absent else "says Yes"
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"how often it {verb} cannot be compared"
    if estimate.low <= 0 <= estimate.high:
        return f"{verb} neither more nor less often as far as these items can show"
    points = written(estimate.value, "share", signed=True)
    how = "more" if estimate.value > 0 else "less"
    ends = interval(estimate, "share", signed=True)
    return f"{verb} {how} often ({points} points, interval {ends})"


def _towards(compared: Comparison) -> str:
    shift = compared.criterion_shift.shift.value
    return "No" if shift is not None and shift < 0 else "Yes"


def _main_name(results: Results) -> str:
    return "balanced accuracy" if asks_absent(results) else "the hit rate"


def below(difference: Estimate) -> bool:
    """Is a difference below 0, as far as its interval can tell?"""
    return difference.high is not None and difference.high < 0


def above(difference: Estimate) -> bool:
    """Is a difference above 0, as far as its interval can tell?"""
    return difference.low is not None and difference.low > 0


def _because(estimate: Estimate) -> str:
    return estimate.reason or "no reason was given."


def _equals(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"
