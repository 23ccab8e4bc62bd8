"""Entries, plans and what was reproduced, in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import HORIZONTALS
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from wheresight.durations import about
from wheresight.reproduce.catalogue import models, papers
from wheresight.reproduce.entry import Entry
from wheresight.reproduce.numerals import interval
from wheresight.reproduce.reading import columns_of
from wheresight.reproduce.run import POCKET, cite, commands_for

if TYPE_CHECKING:
    from rich.console import Console

    from wheresight.reproduce.plan import EntryPlan
    from wheresight.reproduce.run import Reproduced


def print_list(chosen: Sequence[Entry], console: Console) -> None:
    """Every entry in a line, paper by paper."""
    for key, paper in papers().items():
        console.print(f"\n[bold]{key}[/]  {escape(paper.title)}, arXiv {paper.arxiv}")
        console.print(Padding(f"[dim]{escape(paper.read)}[/]", (0, 0, 0, 2)))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=True)
        for head in ("name", "numbers", "commands", "pocket", "what"):
            table.add_column(head, no_wrap=head in ("name", "numbers"))
        of_paper = [one for one in chosen if one.source.paper == key]
        for one in of_paper:
            if one.unknown:
                continue
            names = "\n".join([one.name, *(f"= {alias}" for alias in one.aliases)])
            count = sum(v is not None for row in one.published.rows for v in row.values) if (
                one.published) else 0  # fmt: skip
            work = one.work(True)
            table.add_row(
                names,
                str(count or "-"),
                "yes" if one.full and one.full.commands else "-",
                "yes" if work and work.commands else "-",
                escape(one.title),
            )
        console.print(table)
        if unknown := [one.name for one in of_paper if one.unknown]:
            said = f"What they hold is not known here: {', '.join(unknown)}."
            console.print(Padding(f"[dim]{said}[/]", (0, 0, 0, 2)))
    console.print(
        "\nnumbers: printed ones that ship. commands: for the paper's models. pocket: can be run "
        "here with --model pocket.\nwheresight reproduce NAME shows one; --plan says what it would "
        "cost on this machine."
    )


def print_entry(one: Entry, console: Console) -> None:
    """Everything that ships of one entry, and its commands."""
    console.print(f"\n[bold]{one.name}[/]  {escape(one.title)}")
    console.print(f"[dim]{escape(cite(one))}[/]\n")
    if one.published:
        print_published(one, console)
    if one.shape:
        console.print(f"Shape: {escape(one.shape)}")
    for misprint in one.misprints:
        console.print(f"Misprint: {escape(misprint.words())}")
    for trap in one.traps:
        console.print(f"Mind: {escape(trap)}")
    made = commands_for(one)
    if made and one.full:
        console.print("\nCommands for the paper's models:")
        for name, commands in made:
            console.print(f"  [dim]# {escape(name)}[/]")
            for command in commands:
                console.print(f"  {escape(command)}", soft_wrap=True)
        for name, what in one.full.needs.items():
            console.print(f"  {name.upper()}: {escape(what)}")
        if one.full.note:
            console.print(f"Note: {escape(one.full.note)}")
    without = [models()[key] for key in one.models if models()[key].hub is None]
    for model in without:
        console.print(f"{escape(model.name)}: {escape(model.note)}")
    if one.cannot:
        console.print(f"\nCannot be reproduced: {escape(one.cannot)}")
    work = one.work(True)
    if work and work.commands:
        console.print(f"\nHere and now: wheresight reproduce {one.name} --model {POCKET}")


def print_published(one: Entry, console: Console) -> None:
    """What is printed, with misprints marked."""
    assert one.published is not None
    unit, rows = one.printed()
    _print_table(f"Printed, {unit}", one.published.columns, rows, console)


def print_reproduced(found: Reproduced, console: Console) -> None:
    """What was measured below what is printed."""
    console.print()
    if found.entry.published:
        print_published(found.entry, console)
    if found.entry.shape:
        console.print(f"Printed, in words: {escape(found.entry.shape)}\n")
    heads = columns_of(found.ours)
    rows = []
    for line in found.ours:
        cells = [interval(line.values[h]) if h in line.values else "" for h in heads]
        rows.append([line.label, *(cell.replace(" (", "\n(") for cell in cells)])
    if rows:
        _print_table(f"Ours, {found.model}, with 95 % intervals", heads, rows, console)
    if found.claims:
        heads = ["printed", "ours", "difference"]
        rows = [
            [c.words, c.published, c.verdict, interval(c.ours, sign=True).replace(" (", "\n(")]
            for c in found.claims
        ]
        _print_table("Statements", heads, rows, console)
    work = found.entry.work(found.model == POCKET)
    if work and work.note:
        console.print(f"Note: {escape(work.note)}")
    if found.caution:
        console.print(f"[dim]{escape(found.caution)}[/]")


def _print_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console
) -> None:
    """A table with a label in front of each row; columns that do not fit follow in another one."""

    def width(column: int) -> int:
        told = [cell for row in rows for cell in row[column].split("\n")]
        return max(map(len, told), default=0)

    label = min(width(0), max(console.width // 3, 20))
    widths = [max(len(head), width(n)) for n, head in enumerate(heads, 1)]
    console.print(escape(title))
    first = 0
    while first < len(heads):
        last, used = first, label
        while last < len(heads) and (last == first or used + 3 + widths[last] <= console.width):
            used += 3 + widths[last]
            last += 1
        table = Table(box=HORIZONTALS, padding=(0, 1, 0, 1), pad_edge=False, show_edge=False)
        table.add_column("", max_width=label)
        for head in heads[first:last]:
            table.add_column(escape(head), justify="right")
        for row in rows:
            table.add_row(escape(row[0]), *map(escape, row[first + 1 : last + 1]))
        console.print(table)
        console.print()
        first = last


def print_plans(found: Sequence[EntryPlan], console: Console) -> None:
    """What entries would cost on this machine."""
    if not found:
        console.print("None of these computes anything.")
        return
    first = found[0]
    console.print(escape(first.machine))
    for one in found:
        console.print(
            f"\n[bold]{one.name}[/]  {escape(one.counted)}: {one.passes:,} passes a model"
        )
        table = Table(box=None, padding=(0, 2, 0, 0))
        for head in ("model", "download", "memory", "fits", "time, from", "to", "measure it"):
            table.add_column(head, justify="left" if head in ("model", "measure it") else "right")
        for model in one.models:
            table.add_row(
                escape(model.model),
                f"{model.download_bytes / 1e9:.0f} GB",
                f"{model.memory_bytes / 1e9:.0f} GB",
                "yes" if model.fits else "no",
                about(model.seconds_low),
                about(model.seconds_high),
                model.skeleton,
            )
        console.print(table)
        for name in one.unknown:
            console.print(f"  {escape(name)}: no shape ships, so nothing is planned.")
    console.print("\n" + textwrap.fill(first.caution, 100))
    console.print(
        "wheresight estimate --model SKELETON --dtype bfloat16 runs a few batches with random "
        "weights: no download, and a better estimate."
    )
