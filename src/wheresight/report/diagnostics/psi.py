"""The picture of `psi`: what each rearrangement costs, in three forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.psi import BLIND, CONDITIONS, CONTENT, IDS, moved
from wheresight.report.diagnostics import plots
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMS = {
    "psi_chance": ("PSI corrected for chance, %", 100.0),
    "psi_logp": ("Loss of log p(right), nats", 1.0),
    "kl": ("KL from undisturbed, nats", 1.0),
}


def pictures(
    tool: Diagnostic,
    tables: Mapping[str, Records],
    context: Context,
    findings: Sequence[Finding],
) -> Iterator[Picture]:
    """Yield one picture with a panel for each form."""
    shown = [f for f in findings if f.name in _FORMS and not f.versus]
    said = "; ".join(f"{f.label}, {one_line(f.intervention, 40)}: {f.value:.3g}" for f in shown)
    yield Picture(
        "forms",
        "What it costs to move image tokens, by what is moved",
        said + ".",
        lambda theme: _draw(shown, list(tables), theme),
    )


def _draw(findings: Sequence[Finding], specs: Sequence[str], theme: Theme) -> Figure:
    names = [*CONDITIONS, BLIND]
    lines = [(name, n, spec) for name in names for n, spec in enumerate(specs)]
    figure, axes = plots.panels(1, len(_FORMS), (3.1, 0.9 + 0.22 * len(lines)), theme)
    for column, (panel, (form, (title, factor))) in enumerate(
        zip(axes.flat, _FORMS.items(), strict=True)
    ):
        by = {(f.where["condition"], f.intervention): f for f in findings if f.name == form}
        found = [by.get((moved(name), spec)) for name, _, spec in lines]
        labels = [moved(name) if n == 0 else "" for name, n, _ in lines]
        colours = [n for _, n, _ in lines]
        plots.found_dots(panel, labels, found, theme, factor=factor, colours=colours)
        panel.axvline(0, color=theme.faint, lw=1)
        for edge in (len(CONTENT), len(CONTENT) + len(IDS)):
            panel.axhline(edge * len(specs) - 0.5, color=theme.faint, lw=0.8, ls=":")
        if column:
            panel.set_yticklabels([])
        plots.titled(panel, title, theme)
    if len(specs) > 1:
        for n, spec in enumerate(specs):
            axes.flat[0].plot([], [], plots.MARKS[n % 8], color=plots.INKS[n % 6], label=spec)
        plots.legend(axes.flat[0], theme, loc="upper left", bbox_to_anchor=(0.0, -0.06))
    return figure
