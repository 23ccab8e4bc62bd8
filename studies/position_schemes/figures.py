"""The pictures of the study, from results.json alone.

Colours and marks are those of the reports, which colour-blind readers can tell apart; every scheme
has the same colour and mark in all pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from design import REFERENCE, SCHEMES
from summary import number
from world import KINDS

from wheresight.report.diagnostics.plots import INKS, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WAYS = {False: "from scratch", True: "none, adapted by LoRA"}
_MARKS = (*MARKS, "H")  # one more than the reports have
_DPI = 130
_GREY = "#555555"
_FOREST = ("accuracy", "worst", "strict", "2ds", "localisation")
_TITLES = {
    "accuracy": "balanced accuracy",
    "worst": "worst cell",
    "strict": "right in every cell",
    "2ds": "2DS",
    "localisation": "localisation",
}


def draw_all(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write every picture; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "plane": plane(results),
        "differences": forest(results),
        "learning": curves(results),
        "sensitivity": sensitivity(results),
    }
    found = []
    for name, figure in pictures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=_DPI, facecolor="white", metadata={"Software": None})
        found.append(path)
    return found


def plane(results: dict[str, Any]) -> Figure:
    """Robustness across, awareness up: small marks are seeds, large ones their means."""
    figure, panels = _figure(1, 2, (5.2, 4.4), share=True)
    for adapted, axes in zip(WAYS, panels, strict=True):
        for entry in _entries(results, adapted):
            colour, mark = _look(entry["scheme"])
            x, y = (number(entry["measures"][name]) for name in ("worst", "awareness"))
            axes.plot(
                100 * np.array(x.each), 100 * np.array(y.each), mark, color=colour, ms=4, mew=0,
                alpha=0.45,
            )  # fmt: skip
            axes.errorbar(
                100 * x.value,
                100 * y.value,
                xerr=_arms(x.value, x.items),
                yerr=_arms(y.value, y.items),
                fmt="none",
                ecolor=colour,
                elinewidth=1,
                zorder=3,
            )
            axes.plot(
                100 * x.value, 100 * y.value, mark, color=colour, ms=9, mec="white", mew=0.8,
                label=entry["scheme"], zorder=4,
            )  # fmt: skip
        axes.set_title(WAYS[adapted], fontsize=10.5)
        axes.set_xlabel("robustness: balanced accuracy in the worst cell, %")
    panels[0].set_ylabel("awareness: mean of 2DS and localisation,\n% (0 is guessing)")
    _legend(figure, panels)
    return figure


def forest(results: dict[str, Any]) -> Figure:
    """Differences to none: a thick bar for other pictures, a thin one for other seeds."""
    rows = [e for adapted in WAYS for e in _entries(results, adapted) if "differences" in e]
    names = [f"{e['scheme']}{', LoRA' if e['adapted'] else ''}" for e in rows]
    figure, panels = _figure(1, len(_FOREST), (2.5, 0.8 + 0.28 * max(len(rows), 4)), share=True)
    for measure, axes in zip(_FOREST, panels, strict=True):
        axes.axvline(0, color=_GREY, lw=0.8)
        for place, entry in enumerate(rows):
            found = number(entry["differences"][measure])
            colour, mark = _look(entry["scheme"])
            for ends, width in ((found.seeds, 0.9), (found.items, 3.2)):
                if np.isfinite(ends).all():
                    axes.plot(100 * np.array(ends), [place] * 2, color=colour, lw=width)
            filled = colour if found.settled else "white"
            axes.plot(100 * found.value, place, mark, color=colour, ms=6, mfc=filled, zorder=4)
        # Student's t on three seeds may reach far; the picture stops, the tables do not.
        ends = [e for r in rows for e in number(r["differences"][measure]).items]
        reach = 100 * max((abs(e) for e in ends if np.isfinite(e)), default=0.1)
        axes.set_xlim(-2.2 * max(reach, 1), 2.2 * max(reach, 1))
        axes.set_title(_TITLES[measure], fontsize=9.5)
        axes.set_xlabel("points", fontsize=8.5)
        axes.tick_params(axis="x", labelsize=8)
    panels[0].set_yticks(range(len(names)), names, fontsize=8.5)
    panels[0].set_ylim(max(len(names), 1) - 0.5, -0.5)
    return figure


def curves(results: dict[str, Any]) -> Figure:
    """Whole answers right while learning, mean over seeds, by kind of question."""
    figure, panels = _figure(1, len(KINDS), (2.7, 2.7), share=True)
    for kind, axes in zip(KINDS, panels, strict=True):
        for scheme in SCHEMES:
            own = [
                cell["curve"]
                for cell in results["cells"]
                if cell["scheme"] == scheme and not cell["adapted"]
            ]
            steps = sorted({p["step"] for curve in own for p in curve if kind in p})
            means = [
                np.mean([p[kind] for curve in own for p in curve if p["step"] == s and kind in p])
                for s in steps
            ]
            if steps:
                axes.plot(steps, 100 * np.array(means), color=_look(scheme)[0], lw=1.2,
                          ls=_dash(scheme), label=scheme)  # fmt: skip
        axes.set_title(kind, fontsize=10)
        axes.set_ylim(0, 101)
        axes.set_xlabel("step")
    panels[0].set_ylabel("whole answers right, %")
    _legend(figure, panels)
    return figure


def sensitivity(results: dict[str, Any]) -> Figure:
    """What moving tokens, or their ids alone, costs the answers to 2DS."""
    figure, panels = _figure(1, 2, (5.0, 3.6), share=True)
    shown = {"tokens moved": 0.0, "ids moved": 0.28}
    for adapted, axes in zip(WAYS, panels, strict=True):
        entries = list(_entries(results, adapted))
        for place, entry in enumerate(entries):
            colour, mark = _look(entry["scheme"])
            for name, by in shown.items():
                found = number(entry["readings"][name])
                filled = colour if name == "tokens moved" else "white"
                axes.plot(found.each, [place + by] * len(found.each), ".", color=colour, ms=4)
                axes.plot(found.value, place + by, mark, color=colour, mfc=filled, ms=7)
        axes.axvline(0, color=_GREY, lw=0.8)
        if entries:  # the panels share their ticks
            axes.set_yticks(range(len(entries)), [e["scheme"] for e in entries], fontsize=8.5)
        axes.set_title(WAYS[adapted], fontsize=10.5)
        axes.set_xlabel("loss of log p(right), nats: filled, tokens moved; open, ids alone")
        axes.xaxis.label.set_size(8.5)
    longest = max(len(list(_entries(results, adapted))) for adapted in WAYS)
    panels[0].set_ylim(longest - 0.5, -0.5)
    return figure


def _entries(results: dict[str, Any], adapted: bool) -> list[dict[str, Any]]:
    return [entry for entry in results["schemes"] if entry["adapted"] == adapted]


def _look(scheme: str) -> tuple[str, str]:
    """Colour and mark of a scheme; none is black."""
    if scheme == REFERENCE:
        return "black", "o"
    place = list(SCHEMES).index(scheme) - 1
    return INKS[place % len(INKS)], _MARKS[place + 1]


def _dash(scheme: str) -> str:
    return "-" if list(SCHEMES).index(scheme) <= len(INKS) else "--"


def _arms(value: float, ends: Sequence[float]) -> Any:
    """Lengths of an error bar, in percent; 0 where there is no interval."""
    low, high = (value if not np.isfinite(end) else end for end in ends)
    return 100 * np.array([[max(0.0, value - low)], [max(0.0, high - value)]])


def _figure(
    rows: int, columns: int, size: tuple[float, float], share: bool
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(np.ravel(figure.subplots(rows, columns, sharey=share)))
    for axes in panels:
        axes.grid(alpha=0.25, lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    found = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        list(found.values()), list(found), loc="outside right center", frameon=False, fontsize=9
    )
