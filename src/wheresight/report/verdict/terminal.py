"""What a person sees in the terminal after a comparison: both sides of each, then what it means."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.report.numerals import Unit, interval, sign, written
from wheresight.report.texts import one_line
from wheresight.report.verdict import words
from wheresight.report.verdict.columns import of_benchmark, of_probe
from wheresight.runs.results import Estimate
from wheresight.runs.verdict import Compared, Placed, Verdict, direction

WIDE = 80  # columns that the whole table needs
_ENDS = 14  # width of a column of percents: room for `-16.6 to +10.1`
_COLUMN = 18  # width of a column of changes: room for `-0.0123 to +0.0004`
_BEHIND = ("flip_rate", "balanced_delta_debiased", "auc", "false_alarm_rate", "accuracy")


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the plane as a table, then one sentence an intervention; the page has all numbers."""
    tests = ", ".join([t.label for t in verdict.probes] + [t.label for t in verdict.benchmarks])
    model = verdict.model.get("model")
    _say(console, f"{model}: {tests}; differences are from {verdict.reference}", "bold")
    for caution in verdict.cautions:
        _say(console, f"Caution: {caution}", "yellow")
    console.print(_table(verdict, console))
    if console.width < WIDE:
        _say(
            console,
            f"Paired differences are left out at {console.width} columns; widen to {WIDE}, or see "
            "the page.",
            "dim",
        )
    for table in _changes(verdict, console):
        console.print(table)
    for one in verdict.interventions:
        _say(console, f"- {one_line(one.intervention, 120)}: {one.sentence}")
    console.print()
    _say(console, f"{words.front_note(verdict)} (* on the front, ? left open)")
    for text in words.missing_note(verdict):
        _say(console, text, "yellow")
    for left in verdict.left_out:
        _say(console, f"Left out of awareness: {left.benchmark}. {left.reason}", "yellow")
    _say(console, words.multiplicity_note(verdict), "dim")


def _table(verdict: Verdict, console: Console) -> Table:
    wide = console.width >= WIDE
    level = f"{100 * verdict.bootstrap.level:g}%"
    found = _framed(console, f"Both sides in %, with {level} intervals")
    headings = [words.ROBUSTNESS, "change", words.AWARENESS, "change"][:: 1 if wide else 2]
    room = console.width - 5 - (_ENDS + 1) * len(headings)
    found.add_column("")
    found.add_column("", overflow="fold", max_width=max(8, room))
    for heading in headings:
        found.add_column(heading, justify="right", min_width=_ENDS)
    for one in verdict.interventions:
        name = Text(_safe(one.intervention, console))
        sides = [
            cell
            for side in (one.robustness, one.awareness)
            for cell in (_number(side.estimate), _change(side))[: 2 if wide else 1]
        ]
        found.add_row(_standing(one), name, *sides)
    return found


def _changes(verdict: Verdict, console: Console) -> Iterator[Table]:
    """Tables of what stands behind both axes, as many columns abreast as fit."""
    others = [one for one in verdict.interventions if one.intervention != verdict.reference]
    if not others:
        return
    of_probes = [(test.label, of_probe(n)) for n, test in enumerate(verdict.probes)]
    of_benchmarks = [(test.label, of_benchmark(n)) for n, test in enumerate(verdict.benchmarks)]
    several = len(of_probes) > 1
    columns = [(c, label if several else "") for label, cs in of_probes for c in cs]
    columns += [(c, label) for label, cs in of_benchmarks for c in cs]
    columns = [(column, label) for column, label in columns if column.field in _BEHIND]
    name = min(max(len(one.intervention) for one in others), max(12, console.width // 4))
    abreast = max(1, (console.width - name - 1) // (_COLUMN + 1))
    for start in range(0, len(columns), abreast):
        some = columns[start : start + abreast]
        found = _framed(console, f"Changes from {verdict.reference}" if start == 0 else None)
        found.add_column("", overflow="fold", width=name)
        for column, label in some:
            parts = [column.label, label, sign(column.unit, difference=True).strip()]
            text = _safe(", ".join(filter(None, parts)), console)
            found.add_column(text, justify="right", max_width=_COLUMN)
        for one in others:
            cells = (_change(column.read(one), column.unit) for column, _ in some)
            found.add_row(Text(_safe(one.intervention, console)), *cells)
        yield found


def _framed(console: Console, title: str | None) -> Table:
    return Table(
        box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
        title=None if title is None else _safe(title, console),
        title_justify="left", title_style="bold", padding=0, pad_edge=False,
    )  # fmt: skip


def _standing(one: Placed) -> str:
    return ("*" if one.standing.on_front else " ") + ("" if one.standing.settled else "?")


def _number(estimate: Estimate) -> Text:
    return _below(written(estimate.value, "share"), interval(estimate, "share"), "bold")


def _change(side: Compared, unit: Unit = "share") -> Text:
    if side.difference is None:
        return Text("")
    value = written(side.difference.value, unit, signed=True)
    ends = interval(side.difference, unit, signed=True)
    return _below(value, ends, "bold" if direction(side.difference) else "dim")


def _below(value: str, ends: str, style: str) -> Text:
    return Text().append(value, style).append("\n" + ends, "dim")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(_safe(text, console), style))


def _safe(text: str, console: Console) -> str:
    """Leave out what the console's encoding cannot write, and what a terminal would obey."""
    encoding = console.encoding or "utf-8"
    text = text.replace("²", "^2") if console.options.ascii_only else text
    return one_line(text).encode(encoding, "replace").decode(encoding)
