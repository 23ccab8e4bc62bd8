"""Pictures of a run: heat maps, differences, and the comparison, as PNG and SVG.

Drawn with matplotlib without its global state. The same results make the same bytes: no date, a
fixed salt for ids, and letters drawn as paths, so that a picture looks alike everywhere; what it
shows is in its alternative text as well.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.report.colours import (
    DIVERGING,
    SEQUENTIAL,
    Scale,
    differences_scale,
    hexadecimal,
    ink,
    rates_scale,
)
from wheresight.report.measures import (
    CellMeasure,
    Measure,
    cell_measures,
    measures,
    place,
    shape,
)
from wheresight.report.numerals import (
    interval,
    level,
    quantity,
    scaled,
    sign,
    written,
)
from wheresight.report.texts import one_line, slug
from wheresight.report.tips import number as tip_line
from wheresight.report.tips import span, spot, titled
from wheresight.runs.results import Estimate, InterventionResult, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 160
_COMPARED = (
    "balanced-accuracy",
    "hit-rate",
    "false-alarm-rate",
    "auc",
    "balanced-delta-debiased",
    "delta-debiased",
    "flip-rate",
    "worst-cell",
)
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # it comes with matplotlib
    "font.size": 9.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "wheresight",
    "text.usetex": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Theme:
    """Colours of everything that is not data."""

    name: str
    text: str
    faint: str
    ground: str


LIGHT = Theme("light", "#1b1f24", "#8b949e", "#fffffe")
DARK = Theme("dark", "#e6edf3", "#6e7681", "#12161c")


def recoloured(svg: bytes, theme: Theme) -> bytes:
    """Return an SVG that was drawn in LIGHT in another theme; data have none of LIGHT's colours."""
    for name in ("text", "faint", "ground"):
        svg = svg.replace(getattr(LIGHT, name).encode(), getattr(theme, name).encode())
    return svg


# One colour and one mark for each intervention, in order (Okabe and Ito 2008), on either ground.
_MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")
_INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Picture:
    """One picture, not yet drawn.

    Attributes:
        name: its file name without the ending.
        title: one line.
        alt: what it shows, in words.
        draw: makes the matplotlib figure, given a theme.
        trim: whether to cut empty margins off.
    """

    name: str
    title: str
    alt: str
    draw: Callable[[Theme], Figure]
    trim: bool = True

    def png(self, theme: Theme = LIGHT) -> bytes:
        """Return the picture as PNG."""
        metadata = {"Software": None, "Title": self.title, "Description": self.alt}
        return self._saved("png", theme, metadata, DOTS_PER_INCH)

    def svg(self, theme: Theme = LIGHT) -> bytes:
        """Return the picture as SVG; its points say their numbers (`report/tips.py`)."""
        metadata = {"Date": None, "Creator": "wheresight", "Title": self.title}
        return titled(self._saved("svg", theme, metadata | {"Description": self.alt}, 72))

    def _saved(self, kind: str, theme: Theme, metadata: dict[str, Any], dpi: int) -> bytes:
        import matplotlib as mpl

        stream = io.BytesIO()
        with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
            figure = self.draw(theme)
            figure.savefig(
                stream, format=kind, dpi=dpi, metadata=metadata, facecolor=theme.ground,
                bbox_inches="tight" if self.trim else None, pad_inches=0.1,
            )  # fmt: skip
        return stream.getvalue()


def pictures(results: Results) -> Iterator[Picture]:
    """Yield every picture of a run, in the order in which a reader wants them."""
    main = cell_measures(results)[0]
    estimates = [main.read(c) for r in results.interventions for c in r.cells]
    scale = rates_scale(e.value for e in estimates if e.value is not None)
    for number, result in enumerate(results.interventions, 1):
        cells = [main.read(cell) for cell in result.cells]
        yield _map(
            results, main, cells, scale, f"cells-{number}-{slug(result.intervention)}",
            f"{main.label} by place, {one_line(result.intervention, 60)}", signed=False,
        )  # fmt: skip
    compared = [[main.read(cell) for cell in c.cells] for c in results.comparisons]
    changes = differences_scale(e.value for es in compared for e in es if e.value is not None)
    pairs = zip(results.comparisons, compared, strict=True)
    for number, (comparison, cells) in enumerate(pairs, 1):
        names = f"{slug(comparison.b, 20)}-minus-{slug(comparison.a, 20)}"
        title = f"{one_line(comparison.b, 30)} minus {one_line(comparison.a, 30)}"
        yield _map(
            results, main, cells, changes, f"difference-{number}-{names}",
            f"{main.label} by place, {title}", signed=True,
        )  # fmt: skip
    yield comparison_picture(results, columns=2)


def comparison_picture(results: Results, columns: int) -> Picture:
    """Return dots with intervals, one panel a measure, in so many columns of panels."""
    shown = [m for m in measures(results) if m.name in _COMPARED]
    shown.sort(key=lambda m: _COMPARED.index(m.name))
    said = []
    for measure in shown:
        values = "; ".join(
            f"{one_line(r.intervention, 60)} {_said(measure.read(r.overall), measure)}"
            for r in results.interventions
        )
        said.append(f"{measure.label}: {values}.")
    said.append(f"Counted: {counted(results)}.")
    return Picture(
        "comparison",
        f"The interventions compared, with {level(results)} intervals",
        " ".join(said),
        lambda theme: _dots(results, shown, columns, theme),
        trim=False,
    )


def _map(
    results: Results,
    measure: CellMeasure,
    cells: list[Estimate],
    scale: Scale,
    name: str,
    title: str,
    *,
    signed: bool,
) -> Picture:
    unit = sign(measure.unit, difference=signed)
    said = "; ".join(
        f"{place(results, number)}: {written(e.value, measure.unit, signed=signed)}{unit}"
        for number, e in enumerate(cells)
    )
    return Picture(
        name,
        title,
        f"{title}. {said}.",
        lambda theme: _heat(results, measure, cells, scale, title, theme, signed),
    )


def _heat(
    results: Results,
    measure: CellMeasure,
    cells: list[Estimate],
    scale: Scale,
    title: str,
    theme: Theme,
    signed: bool,
) -> Figure:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows, columns = shape(results)
    side = max(0.62, min(1.15, 6.0 / max(rows, columns)))
    figure = Figure(figsize=(columns * side + 1.5, rows * side + 0.9), layout="constrained")
    axes = figure.add_subplot()
    with_interval = side > 0.7
    for number, estimate in enumerate(cells):
        row, column = divmod(number, columns)
        fill = "none" if estimate.value is None else hexadecimal(scale.colour(estimate.value))
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=fill, edgecolor=theme.ground, lw=2)
        )
        colour = theme.text if estimate.value is None else hexadecimal(ink(_rgb(scale, estimate)))
        rise = 0.12 if with_interval else 0.0
        value = _minus(written(estimate.value, measure.unit, signed=signed))
        size = 13.0 if with_interval else 9.0
        axes.text(
            column, row - rise, value, ha="center", va="center", color=colour, fontsize=size,
            weight="bold", parse_math=False,
        )  # fmt: skip
        if with_interval:
            ends = _minus(interval(estimate, measure.unit, signed=signed))
            ends, size = (ends, 8.0) if side > 1 else (ends.replace(" to ", "\nto "), 6.5)
            axes.text(
                column, row + 0.25, ends, ha="center", va="center", color=colour, fontsize=size,
                linespacing=1.0, parse_math=False,
            )  # fmt: skip
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(columns), [str(c + 1) for c in range(columns)])
    axes.set_yticks(range(rows), [str(r + 1) for r in range(rows)])
    if results.grid is not None:
        axes.set_xlabel("column")
        axes.set_ylabel("row")
    _plain(axes, theme)
    axes.tick_params(length=0)
    title = f"{title} ({level(results)} intervals)" if with_interval else title
    title = textwrap.fill(title, max(28, round(columns * side * 11)))
    figure.suptitle(title, color=theme.text, fontsize=10, parse_math=False)
    low, high = scaled(scale.low, measure.unit), scaled(scale.high, measure.unit)
    bar = figure.colorbar(
        ScalarMappable(Normalize(low, high), DIVERGING if signed else SEQUENTIAL),
        ax=axes, shrink=0.85, aspect=18, pad=0.03,
    )  # fmt: skip
    bar.set_label(sign(measure.unit, difference=signed).strip() or measure.label, color=theme.text)
    bar.ax.tick_params(colors=theme.text, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def _dots(results: Results, shown: list[Measure], columns: int, theme: Theme) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = [one_line(r.intervention, 28) for r in results.interventions]
    lines = -(-len(shown) // columns)
    height = 0.72 + 0.24 * len(names)
    figure = Figure(
        figsize=(3.9 * columns, lines * height + 0.1),
        layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.16),
    )
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    for axes, measure in zip(panels.flat, shown, strict=False):
        for number, result in enumerate(results.interventions):
            estimate = measure.read(result.overall)
            if estimate.value is None:
                continue
            value = scaled(estimate.value, measure.unit)
            colour = _INKS[number % len(_INKS)]
            if estimate.low is not None and estimate.high is not None:
                ends = [scaled(e, measure.unit) for e in (estimate.low, estimate.high)]
                axes.plot(ends, [number, number], color=colour, lw=2.2, solid_capstyle="butt")
            mark = _MARKS[number % len(_MARKS)]
            axes.plot(
                value, number, mark, color=colour, ms=6.5, mec=theme.ground, mew=0.8, zorder=3
            )
            spot(
                axes, _tip(results, measure, result),
                span(estimate, scaled(1.0, measure.unit)), number,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(
            f"{measure.label}, {unit}" if (unit := sign(measure.unit).strip()) else measure.label,
            loc="left", fontsize=9, color=theme.text,
        )  # fmt: skip
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)  # long labels such as 0.9985 must not meet
        axes.grid(axis="x", color=theme.faint, lw=0.5, alpha=0.5)
        if measure.unit == "squared":
            axes.axvline(0, color=theme.faint, lw=1)
        _plain(axes, theme)
        axes.tick_params(length=0, labelsize=8)
    return figure


def _tip(results: Results, measure: Measure, result: InterventionResult) -> str:
    """What pointing at a dot says."""
    lines = [
        one_line(result.intervention, 60),
        tip_line(measure.label, measure.read(result.overall), measure.unit),
    ]
    lines += [
        tip_line(f"minus {one_line(c.a, 40)}", measure.read(c.overall), measure.unit, signed=True)
        for c in results.comparisons
        if c.b == result.intervention
    ]
    return "\n".join([*lines, counted(results)])


def counted(results: Results) -> str:
    """Say how many items the numbers are of."""
    items, keys = results.counts.items, results.counts.clusters
    return f"{quantity(items, 'item')} about {quantity(keys, 'key picture')}"


def _plain(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.ground)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=theme.text)
    axes.xaxis.label.set_color(theme.text)
    axes.yaxis.label.set_color(theme.text)


def _rgb(scale: Scale, estimate: Estimate) -> tuple[int, int, int]:
    return scale.colour(estimate.value if estimate.value is not None else scale.low)


def _said(estimate: Estimate, measure: Measure) -> str:
    ends = interval(estimate, measure.unit)
    value = written(estimate.value, measure.unit) + sign(measure.unit)
    return value if ends == "-" else f"{value} ({ends})"


def _minus(text: str) -> str:
    return text.replace("-", "−") if len(text) > 1 else "–"
