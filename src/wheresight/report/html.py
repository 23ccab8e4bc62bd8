"""The page of a probe. A section is one template in templates/sections and one entry in SECTIONS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from markupsafe import Markup

from wheresight.report import colours, examples, figures, words
from wheresight.report.crossed import crossed, shown_measures
from wheresight.report.document import DOCUMENT, flat, render, true_minus
from wheresight.report.inline import drawing
from wheresight.report.measures import (
    asks_absent,
    cell_measures,
    measures,
    place,
    shape,
)
from wheresight.report.numerals import Unit, level
from wheresight.report.thumbnails import Render, Thumbnails
from wheresight.runs.results import Estimate, Results

SECTIONS = ("summary", "places", "crossed", "comparison", "examples", "method", "run")
EXAMPLES_OF_A_KIND = 2


@dataclass(frozen=True)
class Heat:
    """A map of cells as the page shows it: rows of (cell, estimate), with their colours."""

    title: str
    name: str
    unit: Unit
    signed: bool
    rows: list[list[tuple[int, Estimate]]]
    scale: colours.Scale
    lowest: int | None = None

    def paint(self, estimate: Estimate) -> Markup:
        """Return the style of a cell: made of numbers alone, so nothing from data can be in it."""
        if estimate.value is None:
            return Markup("")
        ground = self.scale.colour(estimate.value)
        ink = colours.hexadecimal(colours.ink(ground))
        return Markup(f"background:{colours.hexadecimal(ground)};color:{ink}")

    def rounded(self, estimate: Estimate) -> str:
        """Write the number of a cell without decimals, for the small map."""
        if estimate.value is None:
            return ""
        percent = round(100 * estimate.value)
        return true_minus(f"{percent:+d}" if self.signed and percent else f"{percent:d}")


def page(results: Results, records: pa.Table, render: Render | None = None) -> str:
    """Return the whole page.

    Args:
        results: the numbers.
        records: the rows that they were made from; examples are chosen among them.
        render: draws a composite from the JSON of its recipe; without it the page says why its
            examples have no pictures.
    """
    thumbnails = Thumbnails(render, side=176 if results.counts.cells <= 16 else 128)
    template = environment().get_template("report.html.j2")
    return template.render(
        results=results,
        sections=[f"sections/{name}.html.j2" for name in SECTIONS],
        words=words,
        measures=measures(results),
        cell_measures=cell_measures(results),
        heats=_heats(results),
        scale_steps=_scale_steps,
        examples=examples.choose(records, results, EXAMPLES_OF_A_KIND),
        thumbnails=thumbnails,
        letters={r.intervention: _letter(n) for n, r in enumerate(results.interventions)},
        comparison_pictures=_comparison_pictures(results),
        crossed=crossed(results),
        shown_measures=shown_measures(results),
        configuration=flat(results.configuration),
        hardware=flat(results.environment.hardware),
        grid=shape(results),
        absent=asks_absent(results),
        level=level(results),
        place=lambda cell: place(results, cell),
        version=wheresight.__version__,
    )


def _heats(results: Results) -> dict[str, list[Heat]]:
    """Return the maps: one of the main rate for each intervention, others, and differences."""
    columns = shape(results)[1]

    def in_rows(cells: list[tuple[int, Estimate]]) -> list[list[tuple[int, Estimate]]]:
        return [cells[start : start + columns] for start in range(0, len(cells), columns)]

    kinds: dict[str, list[Heat]] = {"main": [], "other": [], "difference": []}
    for number, measure in enumerate(m for m in cell_measures(results) if m.unit == "share"):
        read = [(r, [(c.cell, measure.read(c)) for c in r.cells]) for r in results.interventions]
        values = [e.value for _, cells in read for _, e in cells if e.value is not None]
        scale = colours.rates_scale(values)
        for result, cells in read:
            overall = result.overall
            worst = overall.balanced_worst_cell if asks_absent(results) else overall.worst_cell
            kinds["main" if number == 0 else "other"].append(
                Heat(
                    f"{measure.label}, {result.intervention}", measure.name, measure.unit, False,
                    in_rows(cells), scale, worst if number == 0 else None,
                )
            )  # fmt: skip
    main = cell_measures(results)[0]
    changes = [
        (f"{main.label}, {c.b} minus {c.a}", [(x.cell, main.read(x)) for x in c.cells])
        for c in results.comparisons
    ]
    ends = [e.value for _, cells in changes for _, e in cells if e.value is not None]
    scale = colours.differences_scale(ends)
    kinds["difference"] = [
        Heat(title, main.name, main.unit, True, in_rows(cells), scale) for title, cells in changes
    ]
    return kinds


def _scale_steps(scale: colours.Scale, steps: int = 24) -> list[str]:
    width = (scale.high - scale.low) / (steps - 1)
    return [colours.hexadecimal(scale.colour(scale.low + k * width)) for k in range(steps)]


def _letter(number: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[number] if number < len(letters) else f"Z{number - 25}"
