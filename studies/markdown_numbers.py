"""How the tables of the studies' pages write a number, and how a table gets into its page."""

from __future__ import annotations

import re
from pathlib import Path

from wheresight.report.numerals import Unit, interval, written
from wheresight.runs.results import Estimate


def number(estimate: Estimate, unit: Unit, *, signed: bool = False) -> str:
    """A number with its interval; a difference is bold where the interval leaves 0.0 out."""
    text = f"{written(estimate.value, unit, signed=signed)} ({interval(estimate, unit)})"
    if not signed:
        return text
    low, high = estimate.low, estimate.high
    clear = low is not None and high is not None and (low >= 5e-4 or high <= -5e-4)
    return f"**{text}**" if clear else text


def put(page: Path, tables: dict[str, str]) -> None:
    """Replace the table below each of these headings of a page."""
    text = page.read_text()
    for heading, table in tables.items():
        pattern = rf"(?<=\n## {re.escape(heading)}\n\n)(\|.*\n)+"
        text, count = re.subn(pattern, lambda _, table=table: table + "\n", text)
        if count != 1:
            raise SystemExit(f"{page} has no table below the heading {heading!r}.")
    page.write_text(text)
