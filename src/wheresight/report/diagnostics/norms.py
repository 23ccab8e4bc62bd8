"""Pictures of `norms`: norms of each group and their ratio by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.norms import GROUPS, LEVELS, medians, quantiles
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.layers import by_layer, plain_numbers
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line, slug
from wheresight.report.tips import spot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield one picture an intervention."""
    for number, (spec, table) in enumerate(tables.items(), 1):
        said = "; ".join(
            f"layer {layer}: {value:.3g}"
            for layer, value in enumerate(np.nanmean(medians(table), 0))
        )
        title = f"Norms of embeddings and residual stream, {one_line(spec, 40)}"
        yield Picture(
            f"{number}-{slug(spec, 20)}",
            title,
            f"Median norms by layer and group, and image over text: {said}.",
            partial(_draw, table, findings, spec, title),
        )


def _draw(
    table: Records, findings: Sequence[Finding], spec: str, title: str, theme: Theme
) -> Figure:
    figure, axes = plots.panels(1, 3, (3.3, 2.6), theme, title)
    left, middle, right = axes.flat
    entering = [_levels(table, group)[0] for group in GROUPS]
    for n, levels in enumerate(entering):
        if not np.isfinite(levels).all():
            continue
        colour = plots.INKS[n]
        at = [LEVELS.index(q) for q in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)]
        left.plot([n, n], levels[[at[0], at[-1]]], color=colour, lw=1)
        left.plot([n, n], levels[[at[1], at[-2]]], color=colour, lw=4, alpha=0.5)
        left.plot([n, n], levels[[at[2], at[-3]]], color=colour, lw=10, solid_capstyle="butt")
        left.plot(n, levels[at[3]], "o", color=theme.ground, mec=theme.text, ms=5, zorder=3)
        spot(left, _tip(f"{GROUPS[n]}, entering", levels), n, (levels[at[0]], levels[at[-1]]))
    left.set_xticks(range(len(GROUPS)), GROUPS)
    left.set_xlim(-0.6, len(GROUPS) - 0.4)
    plots.titled(left, "Entering: range, 90 %, half, median", theme)
    for n, group in enumerate(GROUPS):
        levels = _levels(table, group)
        if not np.isfinite(levels).any():
            continue
        layers = np.arange(len(levels))
        low, half, high = (levels[:, LEVELS.index(q)] for q in (0.25, 0.5, 0.75))
        plots.line(
            middle, layers, half, n, theme, band=(low, high), label=group,
            tips=[_tip(f"{group}, layer {layer}", own) for layer, own in enumerate(levels)],
        )  # fmt: skip
    plots.titled(middle, "Residual stream, median and half", theme)
    plots.legend(middle, theme)
    for n, (definition, label) in enumerate((("ours", "medians"), ("paper", "means (paper)"))):
        by_layer(right, findings, [spec], "ratio", theme, definition, first=n, label=label)
    right.axhline(1.0, color=theme.faint, lw=1)
    plots.titled(right, "Image over text", theme)
    plots.legend(right, theme)
    for panel in (middle, right):
        panel.set_xlabel("layer (0 enters, last leaves)")
    for panel in axes.flat:
        plain_numbers(panel)
    return figure


def _tip(name: str, levels: np.ndarray) -> str:
    """What pointing at a group of tokens says: some of LEVELS of their norms."""
    least, low, half, high, greatest = (
        f"{levels[LEVELS.index(q)]:.3g}" for q in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return f"{name}\nMedian norm: {half}\nHalf: {low} to {high}\nAll: {least} to {greatest}"


def _levels(table: Records, group: str) -> np.ndarray:
    """LEVELS by layer, mean over composites, (L + 1, 7)."""
    return np.asarray(quantiles(table, group).mean(0))
