"""The page of a probe: a section is one template in templates/sections, and one of SECTIONS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from wheresight.report import colours, examples, figures, words
from wheresight.report.cautions import cautions
from wheresight.report.crossed import crossed, shown_measures
from wheresight.report.document import DOCUMENT, flat, true_minus
from wheresight.report.document import render as compose
from wheresight.report.inline import drawing
from wheresight.report.measures import (
    asks_absent,
    cell_measures,
    measures,
    place,
    shape,
)
from wheresight.report.numerals import Unit, level, written
from wheresight.report.samples import Maps, Samples
from wheresight.report.texts import one_line
from wheresight.report.thumbnails import Render, Thumbnails
from wheresight.report.tips import number as tip_line
from wheresight.runs.results import CellComparison, CellResult, Estimate, Results

SAMPLES = "samples"
SECTIONS = ("summary", "places", "crossed", "comparison", "examples", "samples", "method", "run")
EXAMPLES_OF_A_KIND = 2
_BYTES_OF_EXAMPLES = 600_000


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
    tips: Mapping[int, str] = field(default_factory=dict)  # by cell, what pointing at it says

    def paint(self, estimate: Estimate) -> Markup:
        """Return the style of a cell: made of numbers alone, so nothing from data can be in it."""
        if estimate.value is None:
            return Markup("")
        ground = self.scale.colour(estimate.value)
        ink = colours.hexadecimal(colours.ink(ground))
        return Markup(f"background:{colours.hexadecimal(ground)};color:{ink}")

    def rounded(self, estimate: Estimate) -> str:
        """Write the number of a cell for the small map: differences alone have a decimal."""
        if estimate.value is None:
            return ""
        unit: Unit = "share" if self.signed else "whole"
        return true_minus(written(estimate.value, unit, signed=self.signed))


@dataclass(frozen=True)
class Pages:
    """A page, and the pages of samples that it links to.

    Attributes:
        page: the page.
        samples: further pages, by the address that the page has for each.
    """

    page: str
    samples: dict[str, str]


def page(results: Results, records: pa.Table, render: Render | None = None) -> str:
    """Return the page alone; see `pages`."""
    return pages(results, records, render).page


def pages(
    results: Results,
    records: pa.Table,
    render: Render | None = None,
    *,
    maps: Sequence[Maps] = (),
    layout: str = DOCUMENT,
    samples_at: str = SAMPLES,
    share: int = 1,
    **more: Any,
) -> Pages:
    """Return the page, and pages of the samples that it has no room for.

    Args:
        results: the numbers.
        records: the rows that they were made from; examples are chosen among them.
        render: draws a composite from the JSON of its recipe; without it the page says why its
            examples have no pictures.
        maps: over composites, where they were recorded.
        layout: DOCUMENT, or PART of a larger page.
        samples_at: the folder of the further pages, as the page sees it.
        share: how many probes share the page, and its room for samples and pictures.
        more: what the layout reads.
    """
    side = 176 if results.counts.cells <= 16 else 128
    thumbnails = Thumbnails(render, side=side, budget=_BYTES_OF_EXAMPLES // share)
    samples = Samples(records, results, render, maps, share)
    block = samples.main()
    rest = samples.pages(block)
    names = [f"{samples_at}/samples-{number}.html" for number in range(1, len(rest) + 1)]
    shared: dict[str, Any] = {
        "results": results,
        "heats": _heats(results),
        "grid": shape(results),
        "absent": asks_absent(results),
        "letters": {r.intervention: _letter(n) for n, r in enumerate(results.interventions)},
    }
    text = compose(
        "report.html.j2",
        layout,
        sections=[f"sections/{name}.html.j2" for name in SECTIONS],
        words=words,
        cautions=cautions(results),
        measures=measures(results),
        cell_measures=cell_measures(results),
        scale_steps=_scale_steps,
        examples=examples.choose(records, results, EXAMPLES_OF_A_KIND),
        thumbnails=thumbnails,
        samples=block,
        sample_pages=list(zip(names, rest, strict=True)),
        all_samples=len(samples),
        comparison_picture=drawing(
            "comparison",
            figures.comparison_picture(results, columns=2),
            figures.comparison_picture(results, columns=1),
        ),
        crossed=crossed(results),
        shown_measures=shown_measures(results),
        configuration=flat(results.configuration),
        hardware=flat(results.environment.hardware),
        level=level(results),
        place=lambda cell: place(results, cell),
        **shared,
        **more,
    )
    further = {
        name: compose(
            "samples.html.j2", samples=one, number=number, count=len(rest),
            before=names[number - 2] if number > 1 else None,
            after=names[number] if number < len(rest) else None, **shared,
        )
        for number, (name, one) in enumerate(zip(names, rest, strict=True), 1)
    }  # fmt: skip
    return Pages(text, further)


def _tips(
    results: Results, who: str, cells: Sequence[CellResult | CellComparison], signed: bool
) -> dict[int, str]:
    """What pointing at each cell of a map says, a number a line."""
    found = {}
    for numbers in cells:
        lines = [f"{place(results, numbers.cell)}; {who}"]
        for measure in cell_measures(results):
            lines.append(
                tip_line(measure.label, measure.read(numbers), measure.unit, signed=signed)
            )
        found[numbers.cell] = "\n".join([*lines, figures.counted(results)])
    return found


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
                    _tips(results, one_line(result.intervention, 60), result.cells, False),
                )
            )  # fmt: skip
    main = cell_measures(results)[0]
    changes = [[(x.cell, main.read(x)) for x in c.cells] for c in results.comparisons]
    ends = [e.value for cells in changes for _, e in cells if e.value is not None]
    scale = colours.differences_scale(ends)
    for compared, cells in zip(results.comparisons, changes, strict=True):
        who = f"{one_line(compared.b, 60)} minus {one_line(compared.a, 60)}"
        kinds["difference"].append(
            Heat(
                f"{main.label}, {compared.b} minus {compared.a}", main.name, main.unit, True,
                in_rows(cells), scale, None, _tips(results, who, compared.cells, True),
            )
        )  # fmt: skip
    return kinds


def _scale_steps(scale: colours.Scale, steps: int = 24) -> list[str]:
    width = (scale.high - scale.low) / (steps - 1)
    return [colours.hexadecimal(scale.colour(scale.low + k * width)) for k in range(steps)]


def _letter(number: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[number] if number < len(letters) else f"Z{number - 25}"
