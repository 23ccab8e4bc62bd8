"""The picture of `origin`: the spread under each condition, and the parts that it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.origin import CONDITIONS, CONTRASTS, CROSSED, MEASURES, PARTS
from wheresight.report.diagnostics import plots
from wheresight.report.figures import Picture, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {"hits": "%²", "margin": "nats²"}
_NAMES = dict(
    zip(
        CROSSED,
        ("raster, causal", "raster, bidirectional", "equal, causal", "equal, bidirectional"),
        strict=True,
    )
)


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield one picture: spreads above, parts in the middle, contrasts below."""
    shown = [
        f for f in findings
        if f.name.endswith(".spread") or ".part." in f.name or ".contrast." in f.name
    ]  # fmt: skip
    said = "; ".join(
        f"{f.label}{' under ' + str(f.where['condition']) if f.where else ''}: {f.value:.3g} "
        f"({f.low:.3g} to {f.high:.3g})"
        for f in shown
    )
    yield Picture(
        "parts",
        "The spread over cells, and what it is made of",
        said + ".",
        lambda theme: _draw(shown, theme),
    )


def _draw(findings: Sequence[Finding], theme: Theme) -> Figure:
    figure, axes = plots.panels(3, len(MEASURES), (4.9, 2.4), theme)
    figure.set_size_inches(9.8, 7.6)
    for column, (measure, (label, _)) in enumerate(MEASURES.items()):
        unit, short = _UNITS[measure], label.split(",")[0]
        by = {f.name: f for f in findings if not f.where}
        spreads = {str(f.where["condition"]): f for f in findings if f.name == f"{measure}.spread"}
        rows = (
            ([_NAMES.get(c, c) for c in CONDITIONS], [spreads[c] for c in CONDITIONS],
             [0 if c in CROSSED else 1 for c in CONDITIONS], f"{short}: spread over cells, {unit}"),
            ([_SHORT[n] for n in PARTS], [by[f"{measure}.part.{n}"] for n in PARTS],
             [2] * len(PARTS), f"{short}: parts of raster, causal, {unit}"),
            ([_SHORT[n] for n in CONTRASTS], [by[f"{measure}.contrast.{n}"] for n in CONTRASTS],
             [3] * len(CONTRASTS), f"{short}: what about the ids, {unit}"),
        )  # fmt: skip
        for row, (names, found, colours, title) in enumerate(rows):
            panel = axes[row, column]
            plots.found_dots(panel, names, found, theme, colours=colours)
            panel.axvline(0, color=theme.faint, lw=1)
            plots.titled(panel, title, theme)
            if column:
                panel.set_yticklabels([])
    return figure


_SHORT = {
    "ids": "+ unequal ids",
    "mask": "+ causal mask",
    "both": "− what both share",
    "encoder": "+ before the language model",
    "equality": "none − bapa_far",
    "distance": "bapa_far − bapa",
    "span": "none − v2pe",
    "across": "none − bapa_cross",
    "arrangement": "none − shuffle",
}
