"""The page of diagnostics: one HTML file with everything in it, which asks the network for nothing.

Pictures are drawn from records by the function that each diagnostic names, written to figures/ as
PNG and SVG, and put into the page as SVG. Every text passes `printable` and jinja2's escaping.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from wheresight.errors import RunError
from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.report.build import write_file
from wheresight.report.diagnostics.numbers import Line, Side, table, with_interval
from wheresight.report.document import DOCUMENT, flat, render
from wheresight.report.figures import Picture
from wheresight.report.inline import Drawing, inline
from wheresight.report.texts import slug
from wheresight.runs.diagnosis import Diagnosed, Diagnosis

PAGE = "diagnostics.html"
FIGURES = "figures"
_MOST_LINES = 300  # of numbers that are folded away; findings.json has all

Draw = Callable[[Diagnostic, Mapping[str, Records], Context, Sequence[Finding]], Iterator[Picture]]


@dataclass(frozen=True)
class Section:
    """One diagnostic as the page shows it."""

    entry: Diagnosed
    pictures: Sequence[Drawing]
    sides: list[Side]
    lines: list[Line]
    other_sides: list[Side]
    other_lines: list[Line]
    more: int


def write_page(
    folder: Path,
    diagnosis: Diagnosis,
    drawn: Sequence[tuple[Diagnostic, Mapping[str, Records], Sequence[Finding]]],
    context: Context,
) -> str:
    """Write figures/NAME-*.png and *.svg, then diagnostics.html, and return the page's name.

    Args:
        folder: where; made if absent.
        diagnosis: the findings.
        drawn: each diagnostic with its records by intervention and its findings, in the order of
            `diagnosis.diagnostics`.
        context: of the run.

    Raises:
        RunError: if the folder cannot be written.
    """
    drawings = folder / FIGURES
    written: set[str] = set()

    def keep(name: str, picture: Picture, svg: bytes) -> None:
        for ending, content in (("png", picture.png()), ("svg", svg)):
            write_file(drawings / f"{name}.{ending}", content)
            written.add(f"{name}.{ending}")

    try:
        drawings.mkdir(parents=True, exist_ok=True)
        sections = sections_of(diagnosis, drawn, context, keep)
        for old in drawings.iterdir():
            of_ours = any(old.name.startswith(f"{tool.name}-") for tool, _, _ in drawn)
            if of_ours and old.name not in written:
                old.unlink()
        write_file(folder / PAGE, page(diagnosis, sections).encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(
            f"The page could not be written to {str(folder)!r}: {error}. The records are "
            "untouched: free space or permissions, then make it again with `wheresight report`."
        ) from error
    return PAGE


def sections_of(
    diagnosis: Diagnosis,
    drawn: Sequence[tuple[Diagnostic, Mapping[str, Records], Sequence[Finding]]],
    context: Context,
    keep: Callable[[str, Picture, bytes], None] = lambda name, picture, svg: None,
) -> list[Section]:
    """Draw each diagnostic of `write_page`; `keep` is given each picture's name and its SVG too."""
    found = []
    for entry, (tool, tables, findings) in zip(diagnosis.diagnostics, drawn, strict=True):
        shown = []
        for picture in _pictures(tool, tables, context, findings):
            name = f"{tool.name}-{picture.name}"
            svg = picture.svg()
            keep(name, picture, svg)
            svg_here = inline(svg, slug(name, 80).replace(".", "-"), picture.alt)
            shown.append(Drawing(svg_here, Markup(), picture.title, picture.alt))
        found.append(_section(entry, shown))
    return found


def page(
    diagnosis: Diagnosis, sections: Sequence[Section], *, layout: str = DOCUMENT, **more: Any
) -> str:
    """Return the page, or with another layout a part of a larger one, which reads `more`."""
    return render(
        "diagnostics.html.j2",
        layout,
        diagnosis=diagnosis,
        sections=sections,
        with_interval=with_interval,
        level=f"{100 * diagnosis.bootstrap.level:g}%",
        configuration=flat(diagnosis.configuration),
        hardware=flat(diagnosis.environment.hardware) if diagnosis.environment else [],
        **more,
    )


def _section(entry: Diagnosed, pictures: Sequence[Drawing]) -> Section:
    sides, lines = table(entry, headline=True)
    other_sides, other_lines = table(entry, headline=False)
    more = max(0, len(other_lines) - _MOST_LINES)
    return Section(entry, pictures, sides, lines, other_sides, other_lines[:_MOST_LINES], more)


def _pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    if not tool.drawing or not tables:
        return iter(())
    module, _, function = tool.drawing.partition(":")
    draw: Draw = getattr(importlib.import_module(module), function)
    return draw(tool, tables, context, findings)
