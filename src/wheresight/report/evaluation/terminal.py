"""What a person sees in the terminal after an evaluation: accuracies beside their baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.report.evaluation import numbers
from wheresight.report.evaluation.numbers import Line
from wheresight.report.numerals import written
from wheresight.report.texts import one_line
from wheresight.runs.evaluation_results import BenchmarkResult, Evaluation
from wheresight.runs.results import Estimate

_YES_NO = ("balanced_accuracy", "f1", "harmonic", "yes_share")
_CONTROL = ("right_both", "followed", "stayed", "same", "same_place")
_WIDEST = len(" 98.9 (96.7 to 100.0)")


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the main numbers of every benchmark; page and evaluation.json have all.

    A quantity has a line for each intervention, so that 80 columns are enough for any number of
    them. Readers that give the same numbers under all interventions share their lines.

    Args:
        evaluation: what is in evaluation.json.
        console: where to.
    """
    if evaluation.caution:
        console.print(Text(evaluation.caution, "bold"))
    for entry in evaluation.benchmarks:
        console.print()
        title = f"{one_line(entry.benchmark, 90)}: {entry.questions:,} questions about "
        console.print(Text(f"{title}{entry.pictures:,} pictures", "bold"))
        if entry.plain is not None:
            changed = numbers.CONTROLS.get(entry.control or "", str(entry.control))
            console.print(Text(f"beside {one_line(entry.plain, 90)}: {one_line(changed)}"))
        _print_lines(entry, console)
        console.print(Text(f"Without looking, right in %: {_baselines(entry)}."))
    console.print(
        Text("\nPercent; brackets are 95 % intervals, clustered by source picture.", "dim")
    )


def _print_lines(entry: BenchmarkResult, console: Console) -> None:
    names = [one_line(name, 30) for name in numbers.interventions(entry)]
    lines = list(_lines(entry))
    labels = []
    for line in lines:
        label = Text(one_line(line.label, 400))
        if line.note:
            label.append(f" ({one_line(line.note, 120)})", "dim")
        labels.append(label)
    if len(names) == 1:
        found = Table.grid(padding=(0, 2))
        for label, line in zip(labels, lines, strict=True):
            found.add_row(label, _cell(line.numbers[0]))
        console.print(found)
        return
    for label, line in zip(labels, lines, strict=True):
        console.print(label)
        found = Table.grid(padding=(0, 2))
        found.add_column(min_width=max(map(len, names)) + 2)
        found.add_column(min_width=_WIDEST, no_wrap=True)
        found.add_column()
        differences = (None, *line.differences) if line.differences else (None,) * len(names)
        for name, number, difference in zip(names, line.numbers, differences, strict=True):
            minus = _cell(difference, signed=True)
            if minus:
                minus.append(f" minus {names[0]}", "dim")
            found.add_row(Text(f"  {name}"), _cell(number), minus)
        console.print(found)


def _lines(entry: BenchmarkResult) -> Iterator[Line]:
    main, *others = (
        replace(line, label=f"right by {line.label}")
        for line in numbers.merged(
            [replace(line, blind=None) for line in numbers.accuracies(entry)]
        )
    )
    yield main
    yield from numbers.together(entry, readers=1)
    yield from numbers.yes_no(entry, _YES_NO)
    yield from numbers.control(entry, _CONTROL)
    yield from others


def _baselines(entry: BenchmarkResult) -> str:
    return "; ".join(
        f"{one_line(base.label, 90)} {written(base.share, 'share')}"
        for base in numbers.baselines(entry)
    )


def _cell(number: Estimate | None, signed: bool = False) -> Text:
    if number is None or number.value is None:
        return Text("")
    value = f"{written(number.value, 'share', signed=signed):>5}"
    if number.low is None or number.high is None:
        return Text(value)
    low, high = (written(end, "share", signed=signed) for end in (number.low, number.high))
    return Text.assemble(value, (f" ({low} to {high})", "dim"))
