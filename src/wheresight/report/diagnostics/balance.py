"""Pictures of `balance`: CMB and its excess for each layer and head, and by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.balance import ARMS, cmb_of, excess, of_heads, uniform
from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.layers import by_layer, legend_below, name_squares
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
    """Yield the heads of each intervention, then the layers of all."""
    largest = max(
        float(np.abs(_heads(table, arm, excess)).max())
        for table in tables.values() for arm in _arms(table)
    )  # fmt: skip
    for number, (spec, table) in enumerate(tables.items(), 1):
        title = f"Balance of each layer and head, {one_line(spec, 40)}"
        said = "; ".join(
            f"{_named(arm)}: mean CMB {_heads(table, arm, cmb_of).mean():.3g}, excess "
            f"{_heads(table, arm, excess).mean():.3g}" for arm in _arms(table)
        )  # fmt: skip
        yield Picture(
            f"{number}-{slug(spec, 20)}-heads",
            title,
            f"Layers downward, heads across. {said}.",
            partial(_draw_heads, table, title, largest),
        )
    yield Picture(
        "layers",
        "Balance by layer",
        "; ".join(
            f"{f.label}, {one_line(f.intervention, 30)}: {f.value:.3g}"
            for f in findings
            if f.name.split(".")[0] in ("cmb", "excess") and not f.where and not f.versus
        )
        + ".",
        lambda theme: _draw_layers(findings, tables, theme),
    )


def _arms(table: Records) -> list[str]:
    return [arm for arm in ARMS if (table["arm"] == arm).any()]


def _named(arm: str) -> str:
    return "prompt as it is" if arm == "plain" else "with a system prompt"


def _heads(table: Records, arm: str, of: object) -> np.ndarray:
    """Mean over prompts of one arm, (L, A)."""
    values = of_heads(of(table), int(table["layers"][0]))  # type: ignore[operator]
    return np.asarray(values[table["arm"] == arm].mean(0))


def _draw_heads(table: Records, title: str, largest: float, theme: Theme) -> Figure:
    arms = _arms(table)
    layers, heads = int(table["layers"][0]), int(table["heads"][0])
    size = (max(3.3, min(6.0, 0.3 * heads + 1.6)), max(1.7, min(6.0, 0.3 * layers + 0.6)))
    figure, axes = plots.panels(len(arms), 2, size, theme, title)
    for line, arm in zip(axes, arms, strict=True):
        even = float(uniform(table)[table["arm"] == arm].mean())
        for panel, of, said in ((line[0], cmb_of, "CMB"), (line[1], excess, "Excess over even")):
            values = _heads(table, arm, of)
            if of is cmb_of:
                plots.heat(panel, 100 * values, theme, low=0.0, high=100.0, label="%")
                plots.titled(panel, f"{said}, {_named(arm)} (even: {even:.1%})", theme)
                plots.say_heads(panel, 100 * values, f"{said}, {_named(arm)}", "%")
            else:
                plots.heat(panel, values, theme, low=-largest, high=largest, diverging=True,
                           label="nats per token")  # fmt: skip
                plots.titled(panel, f"{said}, {_named(arm)}", theme)
                plots.say_heads(panel, values, f"{said}, {_named(arm)}", " nats per token")
            name_squares(panel, layers, heads)
    return figure


def _draw_layers(
    findings: Sequence[Finding], tables: Mapping[str, Records], theme: Theme
) -> Figure:
    lines = -(-sum(len(_arms(table)) for table in tables.values()) // 2)
    figure, axes = plots.panels(1, 2, (3.9, 2.4 + 0.18 * lines), theme)
    number = 0
    for spec, table in tables.items():
        for arm in _arms(table):
            name = f"{one_line(spec, 22)}, {'as it is' if arm == 'plain' else 'system prompt'}"
            for panel, of, factor in (
                (axes.flat[0], "cmb", 100.0), (axes.flat[1], "excess", 1.0),
            ):  # fmt: skip
                by_layer(
                    panel, findings, [spec], f"{of}.{arm}", theme, factor=factor,
                    definition="paper" if of == "cmb" else "ours", first=number, label=name,
                )  # fmt: skip
            number += 1
    even = float(np.mean([uniform(table).mean() for table in tables.values()]))
    axes.flat[0].axhline(100 * even, color=theme.faint, lw=1)
    axes.flat[1].axhline(0.0, color=theme.faint, lw=1)
    plots.titled(axes.flat[0], "CMB, %; line: an even share", theme)
    plots.titled(axes.flat[1], "Excess, nats; line: indifference", theme)
    for panel in axes.flat:
        panel.set_xlabel("layer")
    legend_below(figure, axes.flat[1], theme)
    return figure
