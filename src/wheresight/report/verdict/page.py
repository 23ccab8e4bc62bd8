"""compare.html: one file with everything in it, which asks the network for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wheresight.report.document import DOCUMENT, flat, render
from wheresight.report.inline import drawing
from wheresight.report.numerals import written
from wheresight.report.verdict import words
from wheresight.report.verdict.columns import Column, of_benchmark, of_probe
from wheresight.report.verdict.plane import plane
from wheresight.runs.places import Place
from wheresight.runs.verdict import Verdict, direction

PAGE = "compare.html"


@dataclass(frozen=True)
class Numbers:
    """One table: the numbers of one test, an intervention a line."""

    title: str
    note: str
    columns: list[Column]


def write_page(place: Place, verdict: Verdict) -> None:
    """Write plane.png, plane.svg and compare.html."""
    picture = plane(verdict)
    place.write(f"{picture.name}.png", picture.png())
    place.write(f"{picture.name}.svg", picture.svg())
    place.write(PAGE, page(verdict).encode("utf-8", "replace"))


def page(verdict: Verdict, *, layout: str = DOCUMENT, **more: Any) -> str:
    """Return the page, or with another layout a part of a larger one, which reads `more`."""
    return render(
        "verdict.html.j2",
        layout,
        verdict=verdict,
        words=words,
        plane_drawing=drawing("plane", plane(verdict, "wide"), plane(verdict, "narrow")),
        robustness=_robustness(verdict),
        awareness=_awareness(verdict),
        direction=direction,
        level=f"{100 * verdict.bootstrap.level:g}%",
        model=flat(verdict.model),
        settings=[(probe.label, flat(probe.settings)) for probe in verdict.probes],
        **more,
    )


def _robustness(verdict: Verdict) -> list[Numbers]:
    found = []
    for n, probe in enumerate(verdict.probes):
        note = (
            f"{probe.items:,} items about {probe.clusters:,} key pictures in {probe.cells} cells."
        )
        found.append(Numbers(probe.label, note, of_probe(n)))
    return found


def _awareness(verdict: Verdict) -> list[Numbers]:
    found = []
    for n, benchmark in enumerate(verdict.benchmarks):
        blind = (
            ""
            if benchmark.blind is None
            else f" On blank pictures, under {benchmark.blind_under}, the chance-corrected "
            f"accuracy is {written(benchmark.blind, 'share')}%."
        )
        note = (
            f"{benchmark.questions:,} questions about {benchmark.clusters:,} pictures or sets. "
            f"Guessing is right in {written(benchmark.chance, 'share')}%, always the most frequent "
            f"answer in {written(benchmark.majority, 'share')}%.{blind}"
        )
        title = f"{benchmark.label} ({benchmark.benchmark})"
        found.append(Numbers(title, note, of_benchmark(n)))
    return found
