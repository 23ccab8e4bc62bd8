"""Pictures of `alignment`: overlap of each layer and head with the box, and its AUROC by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.alignment import ratio
from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.layers import by_layer, legend_below, name_squares
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield the heads of all interventions, then AUROC by layer."""
    heads = {spec: np.nanmean(ratio(table), 0) for spec, table in tables.items()}
    said = "; ".join(
        f"{one_line(spec, 40)}: {_best(values)}" for spec, values in heads.items()
    )  # fmt: skip
    yield Picture(
        "heads",
        "Attention in the object's box over its even share, each layer and head",
        f"Layers downward, heads across. {said}.",
        lambda theme: _draw_heads(heads, theme),
    )
    yield Picture(
        "layers",
        "Overlap, and how well it tells right answers from wrong, by layer",
        "; ".join(
            f"{f.label}, {one_line(f.intervention, 30)}: {f.value:.3g} ({f.low:.3g} to "
            f"{f.high:.3g})" for f in findings if not f.where and not f.versus
        ) + ".",
        lambda theme: _draw_layers(findings, list(tables), theme),
    )  # fmt: skip


def _best(values: np.ndarray) -> str:
    layer, head = np.unravel_index(np.nanargmax(values), values.shape)
    return f"greatest {values[layer, head]:.3g} in layer {layer}, head {head}"


def _draw_heads(heads: Mapping[str, np.ndarray], theme: Theme) -> Figure:
    from matplotlib.colors import TwoSlopeNorm

    layers, count = next(iter(heads.values())).shape
    size = (max(2.4, min(6.0, 0.3 * count + 1.2)), max(1.9, min(6.0, 0.3 * layers + 0.6)))
    columns = min(3, len(heads))
    lines = -(-len(heads) // columns)
    figure, axes = plots.panels(lines, columns, size, theme)
    high = max(1.1, *(float(np.nanmax(values)) for values in heads.values()))
    image = None
    for panel, (spec, values) in zip(axes.flat, heads.items(), strict=False):
        image = plots.heat(panel, values, theme, diverging=True, bar=False)
        # 1 in the middle: less than an even share on one side, more on the other.
        image.set_norm(TwoSlopeNorm(1.0, 0.0, high))
        plots.titled(panel, spec, theme, 34)
        label = f"Attention in the box, {one_line(spec, 40)}"
        plots.say_heads(panel, values, label, " times its even share")
        name_squares(panel, layers, count)
    for panel in axes.flat[len(heads) :]:
        panel.remove()
    plots.colour_bar(axes, image, theme, "times its even share")
    return figure


def _draw_layers(findings: Sequence[Finding], specs: Sequence[str], theme: Theme) -> Figure:
    figure, axes = plots.panels(1, 2, (3.9, 2.6 + 0.09 * len(specs)), theme)
    definition = next(f.definition for f in findings if f.name == "auroc")
    for panel, name in zip(axes.flat, ("overlap", "auroc"), strict=True):
        by_layer(panel, findings, specs, name, theme, definition)
        panel.set_xlabel("layer")
    axes.flat[0].axhline(1.0, color=theme.faint, lw=1)
    axes.flat[1].axhline(0.5, color=theme.faint, lw=1)
    plots.titled(axes.flat[0], "Attention in the box, times even", theme)
    plots.titled(axes.flat[1], "AUROC for right answers", theme)
    if not any(f.name == "auroc" and np.isfinite(f.value) for f in findings):
        axes.flat[1].set(xticks=[], yticks=[], xlabel="")
        axes.flat[1].text(
            0.5, 0.55, "Undefined: all answers are right,\nor all are wrong.", ha="center",
            transform=axes.flat[1].transAxes, color=theme.text,
        )  # fmt: skip
    if len(specs) > 1:
        legend_below(figure, axes.flat[0], theme)
    return figure
