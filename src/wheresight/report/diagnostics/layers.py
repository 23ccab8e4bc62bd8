"""Panels about the layers and heads of a model, made from findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.diagnostic import Finding
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.numbers import finding_tip
from wheresight.report.figures import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def by_layer(
    axes: Axes,
    findings: Sequence[Finding],
    specs: Sequence[str],
    name: str,
    theme: Theme,
    definition: str | None = None,
    *,
    factor: float = 1.0,
    first: int = 0,
    label: str | None = None,
) -> None:
    """A line with its band for each intervention: all findings of a name that say a layer.

    Args:
        axes: the panel.
        findings: of the diagnostic.
        specs: which interventions, in the order of their colours.
        name, definition: of the findings; None for any definition.
        theme: colours.
        factor: what values are multiplied by.
        first: number of the first line in its panel, which decides its colour.
        label: of the line in the legend; the intervention if not given.
    """
    from matplotlib.ticker import MaxNLocator

    for n, spec in enumerate(specs):
        shown = [
            f
            for f in findings
            if f.name == name and f.intervention == spec and not f.versus and "layer" in f.where
            and definition in (None, f.definition)
        ]  # fmt: skip
        shown.sort(key=lambda f: int(f.where["layer"]))
        if not shown:
            continue
        value, low, high = (
            factor * np.array([getattr(f, end) for f in shown]) for end in ("value", "low", "high")
        )
        plots.line(
            axes, [int(f.where["layer"]) for f in shown], value, first + n, theme,
            band=(low, high), label=label or spec, tips=[finding_tip(f) for f in shown],
        )  # fmt: skip
    axes.grid(axis="y", color=theme.faint, lw=0.5, alpha=0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def name_squares(axes: Axes, layers: int, heads: int) -> None:
    """The axes of a map with one square a layer (downward) and head (across)."""
    axes.set_aspect("auto")
    axes.set_yticks(*_ticks(layers))
    axes.set_xticks(*_ticks(heads))
    axes.set_ylabel("layer")
    axes.set_xlabel("head")


def _ticks(count: int) -> tuple[list[int], list[str]]:
    places = list(range(0, count, max(1, -(-count // 8))))
    return places, [str(n) for n in places]


def legend_below(figure: Figure, axes: Axes, theme: Theme, columns: int = 2) -> None:
    """One legend below all panels, with the lines of one of them."""
    lines, names = axes.get_legend_handles_labels()
    found = figure.legend(
        lines, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=8,
        labelcolor=theme.text,
    )  # fmt: skip
    for text in found.get_texts():
        text.set_parse_math(False)


def plain_numbers(axes: Axes) -> None:
    """A vertical axis for ratios: logarithmic where they span more than a power of ten; 1, 2, 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.dataLim.intervaly
    if not 0 < low * 10 < high:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
