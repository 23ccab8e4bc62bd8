"""bench.html: one file with everything in it, which asks the network for nothing."""

from __future__ import annotations

from wheresight.bridges.lmms_eval.bench.results import Bench, Entry
from wheresight.bridges.lmms_eval.bench.tables import paper_tables
from wheresight.report.document import flat, render
from wheresight.runs.verdict import direction

PAGE = "bench.html"


def page(bench: Bench) -> str:
    """Return the whole page."""
    return render(
        "bench.html.j2",
        bench=bench,
        tables=paper_tables(bench),
        moved=moved,
        level=f"{100 * bench.bootstrap.level:g}%",
        configuration=flat(bench.configuration),
        hardware=flat(bench.environment.hardware),
    )


def moved(entry: Entry) -> int:
    """1 or -1 where the paired difference does not hold 0, else 0."""
    return 0 if entry.minus_first is None else direction(entry.minus_first)
