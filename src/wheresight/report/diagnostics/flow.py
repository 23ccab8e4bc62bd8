"""Pictures of `flow`: maps of attention over the picture, over all, by place and single ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.flow import normalised_entropy
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.layers import by_layer
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EXAMPLES = 6


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield the maps of all interventions, then places and examples of each, then layers."""
    overall = {spec: _even(table).mean(0) for spec, table in tables.items()}
    said = "; ".join(
        f"{one_line(spec, 40)}: greatest {m.max():.3g}, least {m.min():.3g}, entropy of the map "
        f"{normalised_entropy(m.ravel()):.3f}"
        for spec, m in overall.items()
    )
    highest = max(float(m.max()) for m in overall.values())
    yield Picture(
        "all",
        "Attention from text to each image token, all composites",
        f"Maps over the picture, 1 is an even share. {said}.",
        lambda theme: _draw_overall(overall, highest, theme),
    )
    for number, (spec, table) in enumerate(tables.items(), 1):
        title = f"Attention from text by place of the key, {one_line(spec, 40)}"
        means = _by_cell(table)
        yield Picture(
            f"{number}-{slug(spec, 20)}-places",
            title,
            "One map for each place of the key, outlined, 1 is an even share. " + _said(
                findings, spec
            ),
            partial(_draw_places, means, table, title),
        )  # fmt: skip
        title = f"Single composites, {one_line(spec, 40)}"
        chosen = _chosen(table)
        yield Picture(
            f"{number}-{slug(spec, 20)}-examples",
            title,
            "Maps of single composites: " + ", ".join(
                f"{table['item'][n]} in place {table['cell'][n] + 1}" for n in chosen
            ) + ".",
            partial(_draw_examples, table, chosen, title),
        )  # fmt: skip
    yield Picture(
        "layers",
        "Attention on the picture by layer",
        "By layer: " + "; ".join(
            f"{one_line(spec, 30)} mass {_three(t['mass'])}, entropy {_three(t['entropy'])}, focus "
            f"{_three(t['focus'])}" for spec, t in tables.items()
        ) + ".",
        lambda theme: _draw_layers(findings, list(tables), theme),
    )  # fmt: skip


def _shape(table: Records) -> tuple[int, int]:
    return int(table["height"][0]), int(table["width"][0])


def _even(table: Records) -> np.ndarray:
    """Each map over its mean, (M, H, W): 1 is an even share."""
    maps = np.stack(list(table["map"])).astype(np.float64)
    return (maps / maps.mean(1, keepdims=True)).reshape(len(maps), *_shape(table))


def _by_cell(table: Records) -> np.ndarray:
    maps, cells = _even(table), table["cell"]
    return np.stack([maps[cells == cell].mean(0) for cell in range(int(cells.max()) + 1)])


def _chosen(table: Records) -> list[int]:
    """Some composites: of different items, in different places."""
    items = list(dict.fromkeys(table["item"]))
    cells = int(table["cell"].max()) + 1
    wanted = [(item, (2 * n) % cells) for n, item in enumerate(items[:_EXAMPLES])]
    rows = list(zip(table["item"], table["cell"], strict=True))
    return [rows.index(pair) for pair in wanted]


def _outline(axes: Axes, inside: np.ndarray) -> None:
    """A line round the box: where the share of each token in it says that it ends."""
    from matplotlib.patches import Rectangle

    down, across = inside.max(1), inside.max(0)
    top, left = (int(np.argmax(side > 0)) for side in (down, across))
    y, x = top + 1 - down[top], left + 1 - across[left]
    axes.add_patch(
        Rectangle(
            (x - 0.5, y - 0.5), across.sum(), down.sum(), fill=False, edgecolor="#d55e00", lw=1.6,
            clip_on=False,
        )
    )  # fmt: skip


def _draw_overall(maps: Mapping[str, np.ndarray], high: float, theme: Theme) -> Figure:
    columns = min(4, len(maps))
    lines = -(-len(maps) // columns)
    figure, axes = plots.panels(lines, columns, (2.5, 2.4), theme)
    image = None
    for panel, (spec, values) in zip(axes.flat, maps.items(), strict=False):
        image = plots.heat(panel, values, theme, low=0.0, high=high, bar=False)
        plots.titled(panel, spec, theme, 34)
    for panel in axes.flat[len(maps) :]:
        panel.remove()
    plots.colour_bar(axes, image, theme, "times its even share")
    return figure


def _draw_places(maps: np.ndarray, table: Records, title: str, theme: Theme) -> Figure:
    rows, columns = int(table["grid_rows"][0]), int(table["grid_columns"][0])
    size = max(1.0, min(1.7, 6.0 / max(rows, columns)))
    figure, axes = plots.panels(rows, columns, (size, size), theme, title)
    image = None
    for cell, panel in enumerate(axes.flat):
        image = plots.heat(panel, maps[cell], theme, low=0.0, high=float(maps.max()), bar=False)
        here = np.flatnonzero(table["cell"] == cell)[0]
        _outline(panel, np.asarray(table["inside"][here]).reshape(_shape(table)))
    plots.colour_bar(axes, image, theme, "times its even share")
    return figure


def _draw_examples(table: Records, chosen: Sequence[int], title: str, theme: Theme) -> Figure:
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    figure, axes = plots.panels(lines, columns, (2.1, 2.1), theme, title)
    maps = _even(table)[list(chosen)]
    image = None
    for panel, row, values in zip(axes.flat, chosen, maps, strict=False):
        image = plots.heat(panel, values, theme, low=0.0, high=float(maps.max()), bar=False)
        _outline(panel, np.asarray(table["inside"][row]).reshape(_shape(table)))
        plots.titled(panel, f"{table['item'][row]}, place {table['cell'][row] + 1}", theme, 28)
    for panel in axes.flat[len(chosen) :]:
        panel.remove()
    plots.colour_bar(axes, image, theme, "times its even share")
    return figure


def _draw_layers(findings: Sequence[Finding], specs: Sequence[str], theme: Theme) -> Figure:
    shown = (
        ("mass", "Attention on the picture, %", 100.0),
        ("entropy", "Entropy of each head, % of greatest", 100.0),
        ("focus", "Focus on the key's box, times even", 1.0),
    )
    figure, axes = plots.panels(1, len(shown), (3.1, 2.3), theme)
    for panel, (name, label, factor) in zip(axes.flat, shown, strict=True):
        by_layer(panel, findings, specs, name, theme, factor=factor)
        plots.titled(panel, label, theme)
        panel.set_xlabel("layer")
    axes.flat[-1].axhline(1.0, color=theme.faint, lw=1)
    if len(specs) > 1:
        plots.legend(axes.flat[0], theme)
    return figure


def _said(findings: Sequence[Finding], spec: str) -> str:
    said = [
        f"place {int(f.where['cell']) + 1}: focus {f.value:.3g} ({f.low:.3g} to {f.high:.3g})"
        for f in findings
        if "cell" in f.where and f.intervention == spec and not f.versus
    ]
    return "; ".join(said) + "."


def _three(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in np.asarray(values).mean(0))
