"""What a tuning says in words, and what a person sees of it in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.report.evaluation.numbers import reader_name
from wheresight.report.numerals import interval, written
from wheresight.report.texts import one_line
from wheresight.runs.results import Estimate
from wheresight.runs.tuned import CandidateResult, Compared, Tuned

OPTIMISTIC = "Used for choosing, so the best of these numbers is optimistic: not a result."
_MOST_LINES = 16


def setting(tuned: Tuned, spec: str) -> str:
    """A setting in words: the values that vary, or `the model as it is`."""
    values = next((one.values for one in tuned.candidates if one.spec == spec), {})
    named = ", ".join(f"{name}={value}" for name, value in values.items())
    return named or ("the model as it is" if spec == "none" else spec)


def measured(tuned: Tuned) -> str:
    """What was made high, and how answers were read for it."""
    by = tuned.chosen_by
    return f"{by.label} ({reader_name(by.reader)})"


def verdict(tuned: Tuned) -> list[str]:
    """The result, a sentence or two."""
    test = tuned.test
    if tuned.stock_is_best or test.minus_none is None:
        among = len(tuned.candidates) - 1
        return [
            f"Nothing tuned beats the model as it is: on the validation part no setting of "
            f"{among} is better than the model without the method, by {tuned.chosen_by.label}. "
            f"On the test part the model has {_percent(test.none)}."
        ]
    change, name = test.minus_none, setting(tuned, tuned.choice.spec)
    said = f"Chosen: {name}. "
    shown = (
        f"On the test part the {tuned.chosen_by.label} is {_percent(test.chosen)}, and "
        f"{_percent(test.none)} without: {_points(change)}."
    )
    if change.low is not None and change.low > 0:
        found = "It holds on questions that had no part in the choice."
    elif change.high is not None and change.high < 0:
        found = "It does harm on questions that had no part in the choice."
    else:
        found = "No difference from the model as it is can be told there."
    return [said + shown, found]


def cautions(tuned: Tuned) -> list[str]:
    """What to know before reading on, a sentence each."""
    found = [tuned.caution] if tuned.caution else []
    if len(tuned.looks) > 1:
        found.append(
            f"This test part has now been looked at {len(tuned.looks)} times in this folder, each "
            "time after another choice. The best of these numbers is optimistic too: report this "
            "count with it, or choose once."
        )
    split = tuned.split
    if split.shared:
        found.append(
            f"The published split cuts sets and pictures in two: {split.shared:,} of "
            f"{split.test.questions:,} test questions are about a set or picture that the choice "
            "was made on too. Only --split sets tests on what is new."
        )
    if tuned.choice.at_the_end:
        found.append(
            f"The chosen {' and '.join(tuned.choice.at_the_end)} "
            f"{'lies' if len(tuned.choice.at_the_end) == 1 else 'lie'} at the end of what was "
            "tried: a better value may lie beyond."
        )
    chosen = next(one for one in tuned.candidates if one.spec == tuned.choice.spec)
    if chosen.chosen_again is not None and chosen.chosen_again < 0.5:
        found.append(
            "The choice hangs on the draw of validation questions: in "
            f"{100 * chosen.chosen_again:.0f} % of bootstrap draws the same would have been chosen."
        )
    if tuned.choice.tied:
        count = len(tuned.choice.tied)
        found.append(
            f"{count} other {'setting reaches' if count == 1 else 'settings reach'} the same on "
            "the validation part. The one nearest the model as it is was taken, then the first in "
            "the grid."
        )
    return found


def print_tuned(tuned: Tuned, console: Console) -> None:
    """Print the settings, the choice and the result; tune.json has all.

    Args:
        tuned: what is in tune.json.
        console: where to.
    """
    part = tuned.split.validation
    console.print()
    console.print(
        Text(f"Validation: {_size(part.benchmark, part.questions, part.pictures)}", "bold")
    )
    shown = _best(tuned.candidates, tuned.choice.spec)
    console.print(_validation(tuned, shown))
    if len(shown) < len(tuned.candidates):
        console.print(
            Text(f"The best {len(shown)} of {len(tuned.candidates)}; tune.json has all.", "dim")
        )
    console.print(Text(OPTIMISTIC, "dim"))
    console.print()
    console.print(Text("Result", "bold"))
    console.print(_results(tuned))
    for sentence in verdict(tuned):
        console.print(Text(sentence))
    for sentence in cautions(tuned):
        console.print(Text(f"Note: {sentence}"))
    console.print(
        Text("\nPercent; brackets are 95 % intervals, clustered by source picture.", "dim")
    )


def _validation(tuned: Tuned, shown: Sequence[CandidateResult]) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for axis in tuned.grid.axes:
        found.add_column(Text(one_line(axis.name, 24)))
    asks = any(one.unsure is not None for one in shown)
    for title in (measured(tuned), "minus none", *(["unsure"] if asks else []), "chosen again"):
        found.add_column(Text(title), justify="right")
    for one in shown:
        values = [Text(one_line(value, 24)) for value in one.values.values()]
        if not values:
            values = [Text("none"), *(Text("") for _ in tuned.grid.axes[1:])]
        chosen = one.spec == tuned.choice.spec
        cells = [_cell(one.objective), _cell(one.minus_none, signed=True)]
        if asks:
            cells.append(Text(written(one.unsure, "share") if one.unsure is not None else ""))
        again = "" if one.chosen_again is None else written(one.chosen_again, "share")
        found.add_row(*values, *cells, Text(again), style="bold" if chosen else "")
    return found


def _results(tuned: Tuned) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("")
    for title in ("questions", "none", "chosen", "chosen minus none"):
        found.add_column(title, justify="right")
    for label, one in sections(tuned):
        found.add_row(
            Text(f"{label}: {one_line(one.result.benchmark, 60)}"),
            f"{one.result.questions:,}",
            _cell(one.none),
            _cell(one.chosen),
            _cell(one.minus_none, signed=True),
        )
    return found


def sections(tuned: Tuned) -> list[tuple[str, Compared]]:
    """The test part and the other sets, each with what it is."""
    return [("test", tuned.test), *(("transfer", one) for one in tuned.transfer)]


def _best(candidates: Sequence[CandidateResult], chosen: str) -> list[CandidateResult]:
    """In the grid's order: all, or the model as it is, the chosen one and the best of the rest."""
    if len(candidates) <= _MOST_LINES:
        return list(candidates)
    kept = {0} | {n for n, one in enumerate(candidates) if one.spec == chosen}
    values = [-1.0 if c.objective.value is None else c.objective.value for c in candidates]
    for n in sorted(range(len(candidates)), key=lambda n: (-values[n], n)):
        if len(kept) < _MOST_LINES:
            kept.add(n)
    return [candidates[n] for n in sorted(kept)]


def _size(benchmark: str, questions: int, pictures: int) -> str:
    return (
        f"{one_line(benchmark, 90)}: {questions:,} questions about {pictures:,} "
        f"{'picture' if pictures == 1 else 'pictures'}"
    )


def _cell(number: Estimate | None, signed: bool = False) -> Text:
    if number is None or number.value is None:
        return Text("")
    ends = interval(number, "share", signed=signed)
    tail = "" if ends == "-" else f" ({ends})"
    return Text.assemble(written(number.value, "share", signed=signed), (tail, "dim"))


def _percent(number: Estimate | None) -> str:
    return "undefined" if number is None else f"{written(number.value, 'share')} %"


def _points(number: Estimate) -> str:
    ends = interval(number, "share", signed=True)
    tail = "" if ends == "-" else f" (95 % interval {ends})"
    return f"{written(number.value, 'share', signed=True)} points{tail}"
