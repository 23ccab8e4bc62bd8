"""What a person sees in the terminal after a bench: each task's first number, and its changes."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.bridges.lmms_eval.bench.page import moved
from wheresight.bridges.lmms_eval.bench.results import Bench, Entry, Metric
from wheresight.bridges.lmms_eval.bench.tables import paper_tables
from wheresight.report.numerals import interval, written
from wheresight.report.texts import one_line


def print_bench(bench: Bench, console: Console) -> None:
    """Print the paper's tables, then all tasks."""
    for caution in bench.cautions:
        console.print(Text(one_line(caution), "yellow"))
    shown = paper_tables(bench)
    inside = {id(column.metric) for table in shown for column in table.columns}
    for table in shown:
        _print(bench, console, table.title, [(c.heading, c.metric) for c in table.columns])
    rest = [
        (f"{task.title}: {metric.label}", metric)
        for task in bench.tasks
        for metric in task.metrics
        if id(metric) not in inside
    ]
    if rest:
        _print(bench, console, "Other numbers" if shown else "Scores", rest)


def _print(bench: Bench, console: Console, title: str, rows: list[tuple[str, Metric]]) -> None:
    level = f"{100 * bench.bootstrap.level:g}%"
    found = Table(
        box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
        title=f"{title}, with {level} intervals",
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    found.add_column("", overflow="fold")
    found.add_column("n", justify="right")
    for spec in bench.interventions:
        found.add_column(one_line(spec), justify="right", overflow="fold")
    for label, metric in rows:
        cells = (_cell(metric, entry) for entry in metric.entries)
        found.add_row(Text(one_line(label)), f"{metric.documents:,}", *cells)
    console.print(found)


def _cell(metric: Metric, entry: Entry) -> Text:
    sign = "%" if metric.unit == "share" else ""
    text = Text(f"{written(entry.estimate.value, metric.unit)}{sign}", "bold")
    if entry.standard_error is not None:
        text.append(f" SE {written(entry.standard_error, metric.unit)}", "dim")
    if entry.estimate.low is not None:
        text.append(f"\n{interval(entry.estimate, metric.unit)}", "dim")
    if entry.minus_first is not None:
        change = written(entry.minus_first.value, metric.unit, signed=True)
        if entry.minus_first.low is not None:
            change += f" ({interval(entry.minus_first, metric.unit, signed=True)})"
        text.append(f"\n{change}", "bold" if moved(entry) else "dim")
    return text
