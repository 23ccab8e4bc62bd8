"""The picture of a benchmark: accuracy under each intervention, by each reader, beside baselines.

One panel a reader; readers that found the same under all interventions share one. Interventions are
lines from the top; what those reach who do not look is drawn across them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheresight.report.diagnostics.plots import dots, plain
from wheresight.report.evaluation import numbers
from wheresight.report.evaluation.numbers import Baseline, Line
from wheresight.report.figures import Picture, Theme
from wheresight.report.numerals import interval, quantity, written
from wheresight.report.texts import one_line, slug
from wheresight.report.tips import number as tip_line
from wheresight.report.tips import spot
from wheresight.runs.evaluation_results import BenchmarkResult
from wheresight.runs.results import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = {
    "chance": (0, (1, 1.5)),
    "majority": (0, (5, 2)),
    "by_category": (0, (5, 2, 1, 2)),
    "present": (0, (9, 3)),
    "blind": (0, ()),
}
_SHORT = {
    "chance": "guessing",
    "majority": "most frequent answer",
    "by_category": "most frequent of each category",
    "present": "what is there, not where",
    "blind": "blank pictures",
}


def accuracy_picture(entry: BenchmarkResult, number: int, columns: int) -> Picture:
    """Return the picture of one benchmark with so many panels beside one another.

    Args:
        entry: the benchmark.
        number: its place in the run, from 1; it stands in the file's name.
        columns: how many panels stand beside one another.
    """
    lines = numbers.merged(numbers.accuracies(entry))
    names = numbers.interventions(entry)
    bases = numbers.baselines(entry)
    said = [
        f"Right by {line.label}: "
        + "; ".join(
            f"{one_line(name, 60)} {_said(estimate)}"
            for name, estimate in zip(names, line.numbers, strict=True)
        )
        + "."
        for line in lines
    ]
    said.append("Baselines: " + "; ".join(f"{_SHORT[b.name]} {_percent(b)}" for b in bases) + ".")
    said.append(f"Counted: {counted(entry)}.")
    return Picture(
        f"accuracy-{number}-{slug(entry.benchmark)}",
        f"Accuracy on {one_line(entry.benchmark, 60)}",
        " ".join(said),
        lambda theme: _draw(names, lines, bases, counted(entry), columns, theme),
        trim=False,
    )


def counted(entry: BenchmarkResult) -> str:
    """Say how many questions the numbers are of."""
    asked, about = entry.questions, entry.pictures
    sets = "set" if about == 1 else "sets"
    return f"{quantity(asked, 'question')} about {quantity(about, 'picture')} or {sets}"


def _draw(
    names: list[str],
    lines: list[Line],
    bases: list[Baseline],
    count: str,
    columns: int,
    theme: Theme,
) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, len(lines))
    rows = -(-len(lines) // columns)
    width = 3.9 if columns > 1 else 5.0
    beside = max(1, int(width * columns / 2.5))  # entries of the legend
    below = 0.25 * -(-len(bases) // beside)
    figure = Figure(
        figsize=(width * columns, rows * (0.75 + 0.26 * len(names)) + below + 0.1),
        layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.12),
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(lines) :]:
        axes.remove()
    for axes, line in zip(panels.flat, lines, strict=False):
        _panel(axes, names, line, bases, count, theme)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="outside lower left", frameon=False, fontsize=8,
        labelcolor=theme.text, ncols=beside, handlelength=3,
        columnspacing=1.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _panel(
    axes: Axes,
    names: list[str],
    line: Line,
    bases: list[Baseline],
    count: str,
    theme: Theme,
) -> None:
    for base in bases:
        share, label = base.share, f"{_SHORT[base.name]} {_percent(base)}"
        if base.name == "blind":  # each reader has its own
            if line.blind is None or line.blind.value is None:
                continue
            share, label = line.blind.value, _SHORT[base.name]
        axes.axvline(
            100 * share, color=theme.text, lw=1.1, ls=_DASHES[base.name], alpha=0.75,
            label=label, zorder=1,
        )  # fmt: skip
        measured = line.blind if base.name == "blind" else base.estimate
        shown = measured or Estimate(value=share, low=None, high=None, reason="It is no sample.")
        said = tip_line(_SHORT[base.name], shown, "share")
        spot(axes, f"{said}\n{count}", 100 * share, (-0.5, len(names) - 0.5), width=6)
    found = [number or Estimate.undefined("not measured") for number in line.numbers]

    def ends(which: str) -> list[float]:
        read = [getattr(number, which) for number in found]
        return [float("nan") if value is None else 100 * value for value in read]

    dots(
        axes, names, ends("value"), ends("low"), ends("high"), theme, colours=range(len(names)),
        tips=[_tip(names, line, place, count) for place in range(len(names))],
    )  # fmt: skip
    axes.set_xlim(-2, 102)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_title(
        f"{_cut(line.label)}, %", loc="left", fontsize=9, color=theme.text, parse_math=False
    )
    plain(axes, theme)


def _tip(names: list[str], line: Line, place: int, count: str) -> str:
    """What pointing at a dot says."""
    lines = [one_line(names[place], 60)]
    if (number := line.numbers[place]) is not None:
        lines.append(tip_line(line.label, number, "share"))
    if place and line.differences and (change := line.differences[place - 1]) is not None:
        lines.append(tip_line(f"minus {one_line(names[0], 40)}", change, "share", signed=True))
    return "\n".join([*lines, count])


def _cut(label: str, limit: int = 46) -> str:
    """As many of the names of a panel's readers as there is room for."""
    names = label.split("; ")
    for kept in range(len(names), 0, -1):
        more = f" and {len(names) - kept} more" if kept < len(names) else ""
        text = ", ".join(names[:kept]) + more
        if len(text) <= limit:
            return text
    return one_line(label, limit)


def _percent(base: Baseline) -> str:
    return f"{written(base.share, 'share')}%"


def _said(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "undefined"
    ends = interval(estimate, "share")
    value = f"{written(estimate.value, 'share')}%"
    return value if ends == "-" else f"{value} ({ends})"
