"""The picture of `understanding`: cosines and ranks by place."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.understanding import POOLINGS
from wheresight.report.diagnostics import plots
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line, slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield one picture an intervention."""
    for number, spec in enumerate(tables, 1):
        own = [f for f in findings if f.intervention == spec and "cell" in f.where and not f.versus]
        said = "; ".join(f"{f.label}, place {int(f.where['cell']) + 1}: {f.value:.3f}" for f in own)
        yield Picture(
            f"{number}-{slug(spec, 20)}",
            f"Image features against captions, by place, under {one_line(spec, 40)}",
            said + ".",
            functools.partial(_draw, own),
        )


def _draw(findings: Sequence[Finding], theme: Theme) -> Figure:
    cells = 1 + max(int(f.where["cell"]) for f in findings)
    places = [f"place {cell + 1}" for cell in range(cells)]
    figure, axes = plots.panels(len(POOLINGS), 2, (4.0, 0.8 + 0.2 * cells), theme)
    for row, how in enumerate(POOLINGS):
        cosine, rank = axes[row]
        for n, name in enumerate(("matched", "mismatched")):
            plots.found_dots(
                cosine, places, _by_cell(findings, f"{how}.{name}"), theme,
                colours=[n] * cells, shift=0.3 * n - 0.15,
            )  # fmt: skip
            cosine.plot([], [], plots.MARKS[n], color=plots.INKS[n], label=f"{name} captions")
        plots.titled(cosine, f"Cosine, {how}-pooled", theme)
        plots.legend(cosine, theme, loc="upper left", bbox_to_anchor=(0.0, -0.12), ncols=2)
        plots.found_dots(rank, places, _by_cell(findings, f"{how}.rank"), theme, factor=100.0)
        rank.axvline(50, color=theme.faint, lw=1.2, ls="--")
        plots.titled(rank, f"Other captions less alike, {how}-pooled, % (chance 50)", theme)
    return figure


def _by_cell(findings: Sequence[Finding], name: str) -> list[Finding]:
    return sorted((f for f in findings if f.name == name), key=lambda f: int(f.where["cell"]))
