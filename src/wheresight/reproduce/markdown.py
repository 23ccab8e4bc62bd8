"""What was reproduced as a page of Markdown."""

from __future__ import annotations

from wheresight.reproduce.numerals import interval
from wheresight.reproduce.reading import columns_of
from wheresight.reproduce.run import Reproduced, cite

PAGE = "reproduced.md"


def page(found: Reproduced) -> str:
    """The page: what is printed, what was measured, the statements, what to mind, the commands."""
    one = found.entry
    parts = [f"# {one.name}: {_plain(one.title)}", _plain(cite(one) + ".")]
    if found.caution:
        parts.append(f"> {_plain(found.caution)}")
    if one.published:
        unit, rows = one.printed()
        parts += [f"## Printed, {_plain(unit)}", _table(["", *one.published.columns], rows)]
    if one.shape:
        parts.append(_plain(one.shape))
    heads = columns_of(found.ours)
    rows = [
        [line.label, *(interval(line.values[h]) if h in line.values else "" for h in heads)]
        for line in found.ours
    ]
    parts.append(f"## Ours: {_plain(found.model)}")
    parts.append(
        _table(["", *heads], rows) if rows else "Numbers stand in the commands' own files."
    )
    if found.claims:
        rows = [
            [c.words, c.published, c.verdict, interval(c.ours, sign=True)] for c in found.claims
        ]
        parts += ["## Statements", _table(["", "printed", "ours", "difference"], rows)]
    notes = [f"Misprint: {misprint.words()}" for misprint in one.misprints]
    notes += one.traps
    notes += [f"Cannot be reproduced: {one.cannot}"] if one.cannot else []
    work = one.work(found.caution is not None)
    notes += [work.note] if work and work.note else []
    if notes:
        parts += ["## Mind", "\n".join(f"- {_plain(note)}" for note in notes)]
    commands = "\n".join(found.commands)
    parts += ["## Commands", f"```sh\n{commands}\n```"]
    parts.append(f"wheresight {found.wheresight}, {found.date}")
    return "\n\n".join(parts) + "\n"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    for mark in ("\\", "|", "*", "_", "`", "<", "[", "#"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
