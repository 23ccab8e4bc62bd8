"""What a person sees in the terminal after `wheresight diagnose`: the main numbers of each."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.report.diagnostics.numbers import table, with_interval
from wheresight.report.texts import one_line
from wheresight.runs.diagnosis import Diagnosed, Diagnosis

_MOST_LINES = 24


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print the main numbers of every diagnostic; the page has all."""
    if diagnosis.caution:
        console.print(Text(diagnosis.caution, "bold"))
    for entry in diagnosis.diagnostics:
        console.print()
        console.print(Text(f"{entry.title} ({entry.name})", "bold"))
        console.print(Text(entry.question))
        _numbers(entry, console)
        for reason in entry.left_out:
            console.print(Text(f"Left out: {one_line(reason, 400)}", "yellow"))
    for reason in diagnosis.left_out:
        console.print(Text(f"\nLeft out: {one_line(reason, 400)}", "yellow"))


def _numbers(entry: Diagnosed, console: Console) -> None:
    sides, lines = table(entry, headline=True)
    if not lines:
        return
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("")
    for side in sides:
        found.add_column(Text(one_line(side.title, 40)), justify="right")
    for line in lines[:_MOST_LINES]:
        label = f"{line.label} [paper]" if line.definition == "paper" else line.label
        cells = []
        for number in line.numbers:
            if number is None:
                cells.append(Text(""))
                continue
            value, ends = with_interval(number)
            cells.append(Text.assemble(value, (f" ({ends})" if ends else "", "dim")))
        found.add_row(Text(label), *cells)
    console.print(found)
    if len(lines) > _MOST_LINES:
        console.print(Text(f"{len(lines) - _MOST_LINES} more lines are in the page.", "dim"))
