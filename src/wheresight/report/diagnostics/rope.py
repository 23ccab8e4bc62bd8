"""Pictures of `rope`: sensitivity to a shift by layer, and what each rearrangement changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.rope import QUANTITIES
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.layers import by_layer, legend_below
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARRANGED = (
    ("moved", "|change of log-odds| of attention on the picture", 1.0),
    ("dealt", "Attention within the picture dealt out otherwise, %", 100.0),
)


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield the shift by layer, and the rearrangements."""
    specs = list(tables)
    overall = [f for f in findings if not f.where and not f.versus]
    yield Picture(
        "shift",
        "Shifting the whole picture by one position, by layer",
        "; ".join(
            f"{QUANTITIES[f.name][0]}, {one_line(f.intervention, 30)}: {f.value:.3g} "
            f"({f.low:.3g} to {f.high:.3g})" for f in overall if f.name in QUANTITIES
        ) + ".",
        lambda theme: _draw_shift(findings, specs, theme),
    )  # fmt: skip
    arranged = [f for f in overall if f.name.split(".")[0] in ("moved", "dealt")]
    yield Picture(
        "arrangement",
        "Image tokens moved and rearranged: how attention to them changes",
        "; ".join(
            f"{f.label}, {one_line(f.intervention, 30)}: {f.value:.3g} ({f.low:.3g} to "
            f"{f.high:.3g})" for f in arranged
        ) + ".",
        lambda theme: _draw_arranged(arranged, specs, theme),
    )  # fmt: skip


def _draw_shift(findings: Sequence[Finding], specs: Sequence[str], theme: Theme) -> Figure:
    shown = (
        ("slope", "paper_slope", "|slope of logits|, nats a position"),
        ("alpha_size", "", "|change of attention|, % a position"),
        ("alpha", "paper_alpha", "Signed change of attention, % a position"),
    )
    figure, axes = plots.panels(1, 3, (3.3, 2.4 + 0.18 * len(specs)), theme)
    for panel, (ours, paper, label) in zip(axes.flat, shown, strict=True):
        factor = 1.0 if ours == "slope" else 100.0
        for n, spec in enumerate(specs):
            name = one_line(spec, 24)
            by_layer(
                panel, findings, [spec], ours, theme, factor=factor, first=2 * n,
                label=f"{name}, central" if paper else name,
            )  # fmt: skip
            if paper:
                by_layer(
                    panel, findings, [spec], paper, theme, "paper", factor=factor,
                    first=2 * n + 1, label=f"{name}, one-sided (paper)",
                )  # fmt: skip
        plots.titled(panel, label, theme)
        panel.set_xlabel("layer")
        if ours == "alpha":
            panel.axhline(0.0, color=theme.faint, lw=1)
        else:
            panel.set_ylim(bottom=0)
    legend_below(figure, axes.flat[-1], theme)
    return figure


def _draw_arranged(findings: Sequence[Finding], specs: Sequence[str], theme: Theme) -> Figure:
    moves = list(dict.fromkeys(f.name.partition(".")[2] for f in findings))
    lines = len(moves) * len(specs)
    figure, axes = plots.panels(1, len(_ARRANGED), (4.2, 0.9 + 0.22 * lines), theme)
    for panel, (name, label, factor) in zip(axes.flat, _ARRANGED, strict=True):
        shown = [
            (move + (f", {one_line(spec, 24)}" if len(specs) > 1 else ""), n, f)
            for move in moves
            for n, spec in enumerate(specs)
            for f in findings
            if f.name == f"{name}.{move}" and f.intervention == spec
        ]
        values, lows, highs = (
            [factor * getattr(f, end) for _, _, f in shown] for end in ("value", "low", "high")
        )
        names, colours = [text for text, _, _ in shown], [n for _, n, _ in shown]
        plots.dots(panel, names, values, lows, highs, theme, colours=colours)
        plots.titled(panel, label, theme)
        panel.set_xlim(left=0)
    return figure
