"""The picture of `compression`: accuracy against the number of image tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.report.diagnostics import plots
from wheresight.report.diagnostics.numbers import finding_tip
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {"pool": "fewer tokens", "broadcast": "same count, same detail"}


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield one picture with a panel for each intervention."""
    shown = [f for f in findings if f.name.startswith("accuracy.") and not f.versus]
    said = "; ".join(
        f"{one_line(f.intervention, 40)}, {f.label}, {f.where['tokens']} tokens: "
        f"{100 * f.value:.1f}%"
        for f in shown
    )
    # Where Yes is always right, guessing has no accuracy of its own.
    some = next(iter(tables.values()))
    guessing = float(np.mean(some["chance"])) if len(set(some["expected"])) > 1 else None
    yield Picture(
        "tokens",
        "Accuracy against the number of image tokens",
        said + ".",
        lambda theme: _draw(shown, list(tables), guessing, theme),
    )


def _draw(
    findings: Sequence[Finding], specs: Sequence[str], guessing: float | None, theme: Theme
) -> Figure:
    columns = min(3, len(specs))
    rows = -(-len(specs) // columns)
    figure, axes = plots.panels(rows, columns, (max(4.2, 6.0 - columns), 3.2), theme)
    for empty in axes.flat[len(specs) :]:
        empty.remove()
    for panel, spec in zip(axes.flat, specs, strict=False):
        own = [f for f in findings if f.intervention == spec]
        full = [f for f in own if f.name == "accuracy.full"]
        for n, (way, words) in enumerate(_WORDS.items()):
            line = full + [f for f in own if f.name == f"accuracy.{way}"]
            line.sort(key=lambda f: int(f.where["tokens"]))
            count = np.array([int(f.where["tokens"]) for f in line], dtype=float)
            value, low, high = (
                100 * np.array([getattr(f, end) for f in line]) for end in ("value", "low", "high")
            )
            plots.line(
                panel, count, value, n, theme, band=(low, high), label=words,
                tips=[finding_tip(f) for f in line],
            )  # fmt: skip
        counts = sorted({int(f.where["tokens"]) for f in own})
        panel.set_xscale("log", base=2)
        panel.set_xticks(counts, [str(c) for c in counts])
        panel.minorticks_off()
        if guessing is not None:
            panel.axhline(100 * guessing, color=theme.faint, lw=1.2, ls="--")
        panel.set_ylim(top=102)
        panel.set_xlabel("image tokens (log scale)")
        panel.set_ylabel("accuracy, %")
        panel.grid(axis="y", color=theme.faint, lw=0.5, alpha=0.5)
        plots.titled(panel, spec, theme)
    plots.legend(axes.flat[0], theme, loc="upper left", bbox_to_anchor=(0.0, -0.22), ncols=2)
    return figure
