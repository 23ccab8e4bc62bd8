"""Pictures of `erasure`: maps by place of the key, and how strong masks inside the key are."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.erasure import QUANTITIES, quantity
from wheresight.report.diagnostics import plots
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line, slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = ("log_odds", "features")


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield maps of each intervention, then the dots of all."""
    highest = {
        name: max(float(_maps(table, name).max()) for table in tables.values()) for name in _SHOWN
    }
    for number, (spec, table) in enumerate(tables.items(), 1):
        for name in _SHOWN:
            label, unit = QUANTITIES[name][:2]
            maps = _maps(table, name)
            means = "; ".join(f"place {c + 1}: {m.mean():.3g}" for c, m in enumerate(maps))
            yield Picture(
                f"{number}-{slug(spec, 20)}-{name}",
                f"{label} when a square is erased, by place of the key, under {one_line(spec, 40)}",
                f"Maps over the picture, one for each place of the key. Means: {means}.",
                functools.partial(_draw_maps, maps, table, name, unit, highest[name], spec),
            )
    yield Picture(
        "inside",
        "Change when a square inside the key is erased, by place of the key",
        _said(findings),
        lambda theme: _draw_dots(findings, list(tables), theme),
    )


def _maps(table: Records, name: str) -> np.ndarray:
    """Mean over items for each cell, (C, R, R)."""
    values, cells = quantity(table, name), table["cell"]
    side = round(values.shape[1] ** 0.5)
    means = [values[cells == cell].mean(axis=0) for cell in range(int(cells.max()) + 1)]
    return np.stack(means).reshape(-1, side, side)


def _draw_maps(
    maps: np.ndarray, table: Records, name: str, unit: str, high: float, spec: str, theme: Theme
) -> Figure:
    from matplotlib.patches import Rectangle

    rows, columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    label = QUANTITIES[name][0]
    title = f"{label}, {one_line(spec, 40)}"
    size = max(1.1, min(1.9, 6.0 / max(rows, columns)))
    figure, axes = plots.panels(rows, columns, (size, size), theme, title)
    factor = 100.0 if unit == "share" else 1.0
    image = None
    for cell, panel in enumerate(axes.flat):
        image = plots.heat(
            panel, maps[cell] * factor, theme, low=0.0, high=high * factor, bar=False
        )
        # The outline goes round all masks that lie in the key's box for more than a half.
        inside = table["inside"][table["cell"] == cell][0].reshape(maps.shape[1:]) > 0.5
        ys, xs = np.nonzero(inside)
        panel.add_patch(
            Rectangle(
                (xs.min() - 0.5, ys.min() - 0.5), float(np.ptp(xs)) + 1, float(np.ptp(ys)) + 1,
                fill=False, edgecolor="#d55e00", lw=1.4,
            )
        )  # fmt: skip
    plots.colour_bar(axes, image, theme, "%" if unit == "share" else unit)
    return figure


def _draw_dots(findings: Sequence[Finding], specs: Sequence[str], theme: Theme) -> Figure:
    by_cell = [f for f in findings if "cell" in f.where and not f.versus]
    cells = 1 + max(int(f.where["cell"]) for f in by_cell)
    figure, axes = plots.panels(1, len(_SHOWN), (3.9, 1.0 + 0.24 * cells * len(specs)), theme)
    for panel, name in zip(axes.flat, _SHOWN, strict=True):
        label, unit = QUANTITIES[name][:2]
        factor = 100.0 if unit == "share" else 1.0
        shown = [
            (f"place {cell + 1}" + (f", {spec}" if len(specs) > 1 else ""), n, f)
            for cell in range(cells)
            for n, spec in enumerate(specs)
            for f in by_cell
            if f.name == f"{name}.inside" and f.intervention == spec and f.where["cell"] == cell
        ]
        plots.found_dots(
            panel,
            [text for text, _, _ in shown],
            [f for _, _, f in shown],
            theme,
            factor=factor,
            colours=[n for _, n, _ in shown],
        )
        plots.titled(panel, f"{label}, {'%' if unit == 'share' else unit}", theme)
        panel.set_xlim(left=0)
    return figure


def _said(findings: Sequence[Finding]) -> str:
    said = [
        f"{f.label}, place {int(f.where['cell']) + 1}, {one_line(f.intervention, 40)}: "
        f"{f.value:.3g} ({f.low:.3g} to {f.high:.3g})"
        for f in findings
        if "cell" in f.where and not f.versus and f.name.split(".")[0] in _SHOWN
    ]
    return "; ".join(said) + "."
