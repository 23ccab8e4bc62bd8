"""The page of an evaluation: one HTML file with everything in it, which asks the network for
nothing.

Every text from data passes `printable` and jinja2's escaping. The picture of each benchmark is
written to figures/ as PNG and SVG too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheresight.errors import RunError
from wheresight.probes.evaluate import Evaluated
from wheresight.report import colours
from wheresight.report.build import FIGURES, write_file
from wheresight.report.document import DOCUMENT, flat, render
from wheresight.report.evaluation import examples, numbers, words
from wheresight.report.evaluation.boxes import AtHand, Outlines, outlines
from wheresight.report.evaluation.examples import Example
from wheresight.report.evaluation.numbers import Line
from wheresight.report.evaluation.pictures import accuracy_picture
from wheresight.report.html import Heat
from wheresight.report.inline import Drawing, drawing
from wheresight.report.thumbnails import Thumbnails
from wheresight.runs.evaluation_results import BenchmarkResult, Evaluation

PAGE = "evaluation.html"
EXAMPLES_OF_A_KIND = 2
MOST_CATEGORIES = 12  # more are folded away
_BYTES_OF_PICTURES = 600_000
_OURS = re.compile(r"accuracy-\d+-.+\.(png|svg)")
NO_BENCHMARK = (
    "The pictures could not be drawn, because the benchmark is not at hand or has changed since "
    "the run. Put its files where the run found them and make the page again; the answers below "
    "are complete."
)

# From a benchmark's name to what shows its questions by their ids; None if it is not at hand.
Renders = Callable[[str], AtHand | None]


@dataclass(frozen=True)
class Section:
    """One benchmark as the page shows it.

    Attributes:
        entry: its numbers.
        anchor: its place in the page.
        picture: the accuracies.
        accuracies, averages, categories, together, yes_no, control: lines of its tables.
        painted: the categories' colours.
        examples: questions.
        thumbnails: their pictures.
        at_hand: the benchmark, which knows the boxes in these; None if it is not at hand.
    """

    entry: BenchmarkResult
    anchor: str
    picture: Drawing
    accuracies: Sequence[Line]
    averages: Sequence[Line]
    categories: Sequence[Line]
    together: Sequence[Line]
    yes_no: Sequence[Line]
    control: Sequence[Line]
    painted: Heat
    examples: Sequence[Example]
    thumbnails: Thumbnails
    at_hand: AtHand | None

    def outlines(self, question: str) -> Outlines:
        """Boxes over the picture of a question, where the picture is shown."""
        if self.at_hand is None or question not in self.thumbnails.sizes:
            return Outlines()
        return outlines(self.at_hand.boxes(question), self.thumbnails.sizes[question])

    @property
    def blind(self) -> bool:
        """Was it asked about blank pictures?"""
        return any(line.blind is not None for line in self.accuracies)


def write_page(
    folder: Path, evaluation: Evaluation, records: Sequence[Evaluated], renders: Renders
) -> str:
    """Write figures/accuracy-*.png and *.svg, then evaluation.html, and return the page's name.

    Args:
        folder: where; made if absent.
        evaluation: the numbers.
        records: what they were made from; examples are chosen among them.
        renders: draws the pictures of examples.

    Raises:
        RunError: if the folder cannot be written.
    """
    drawings = folder / FIGURES
    written: set[str] = set()
    try:
        drawings.mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(evaluation.benchmarks, 1):
            picture = accuracy_picture(entry, number, 2)
            for ending, content in (("png", picture.png()), ("svg", picture.svg())):
                write_file(drawings / f"{picture.name}.{ending}", content)
                written.add(f"{picture.name}.{ending}")
        for old in drawings.iterdir():
            if _OURS.fullmatch(old.name) and old.name not in written:
                old.unlink()
        text = page(evaluation, records, renders)
        write_file(folder / PAGE, text.encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(
            f"The page could not be written to {str(folder)!r}: {error}. The records are "
            "untouched: free space or permissions, then make it again with `wheresight report`."
        ) from error
    return PAGE


def page(
    evaluation: Evaluation,
    records: Sequence[Evaluated],
    renders: Renders,
    *,
    layout: str = DOCUMENT,
    share: int = 1,
    **more: Any,
) -> str:
    """Return the page.

    Args:
        evaluation: the numbers.
        records: what they were made from; examples are chosen among them.
        renders: draws the pictures of examples.
        layout: DOCUMENT, or PART of a larger page.
        share: how many evaluations share the page, and its room for pictures.
        more: what the layout reads.
    """
    seen: dict[str, dict[str, list[Evaluated]]] = {}
    for record in records:
        if record["control"] != "blank":
            own = seen.setdefault(record["benchmark"], {})
            own.setdefault(record["intervention"], []).append(record)
    budget = _BYTES_OF_PICTURES // max(1, share * len(evaluation.benchmarks))
    sections = [
        _section(entry, number, seen, renders, budget)
        for number, entry in enumerate(evaluation.benchmarks, 1)
    ]
    return render(
        "evaluation.html.j2",
        layout,
        evaluation=evaluation,
        sections=sections,
        words=words,
        numbers=numbers,
        interventions=numbers.interventions,
        most_categories=MOST_CATEGORIES,
        level=f"{100 * evaluation.bootstrap.level:g}%",
        configuration=flat(evaluation.configuration),
        hardware=flat(evaluation.environment.hardware) if evaluation.environment else [],
        **more,
    )


def _section(
    entry: BenchmarkResult,
    number: int,
    seen: Mapping[str, Mapping[str, Sequence[Evaluated]]],
    renders: Renders,
    budget: int,
) -> Section:
    specs = numbers.interventions(entry)
    own = seen.get(entry.benchmark, {})
    plain = seen.get(entry.plain or "", {}).get(specs[0], ())
    chosen = examples.choose(
        {spec: own[spec] for spec in specs if spec in own}, plain, EXAMPLES_OF_A_KIND
    )
    at_hand = renders(entry.benchmark) if chosen else None
    by_category = numbers.categories(entry)
    values = [n.value for line in by_category for n in line.numbers if n and n.value is not None]
    scale = colours.rates_scale(values)
    return Section(
        entry=entry,
        anchor=f"benchmark-{number}",
        picture=drawing(
            f"accuracy-{number}",
            accuracy_picture(entry, number, 2),
            accuracy_picture(entry, number, 1),
        ),
        accuracies=numbers.accuracies(entry),
        averages=numbers.averages(entry),
        categories=by_category,
        together=numbers.together(entry),
        yes_no=numbers.yes_no(entry),
        control=numbers.control(entry),
        painted=Heat("Categories", "categories", "share", False, [], scale),
        examples=chosen,
        thumbnails=Thumbnails(
            at_hand.picture if at_hand else None, side=224, budget=budget, without=NO_BENCHMARK
        ),
        at_hand=at_hand,
    )
