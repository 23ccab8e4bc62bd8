"""What the pictures of diagnostics are made of: panels, maps, lines with bands, dots.

Colours are those of `report/colours.py` and of Okabe and Ito (2008), which colour-blind people can
tell apart; each series has a mark or a dash of its own besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.probes.diagnostic import Finding
from wheresight.report.colours import DIVERGING, SEQUENTIAL
from wheresight.report.diagnostics.numbers import finding_tip
from wheresight.report.figures import Theme
from wheresight.report.texts import one_line
from wheresight.report.tips import NEAR, minus, spot, square

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")


def panels(
    rows: int, columns: int, size: tuple[float, float], theme: Theme, title: str = ""
) -> tuple[Figure, np.ndarray]:
    """Return a figure with (rows, columns) panels of `size` inches each, plain axes."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, height = columns * size[0], rows * size[1] + (0.35 if title else 0.0)
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.12))
    found = figure.subplots(rows, columns, squeeze=False)
    for axes in found.flat:
        plain(axes, theme)
    if title:
        figure.suptitle(title, color=theme.text, fontsize=10, parse_math=False)
    return figure, found


def plain(axes: Axes, theme: Theme) -> None:
    """No frame, quiet ticks, labels in the colour of text."""
    axes.set_facecolor(theme.ground)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=theme.text, length=0, labelsize=8)
    axes.xaxis.label.set_color(theme.text)
    axes.yaxis.label.set_color(theme.text)
    axes.title.set_color(theme.text)


def titled(axes: Axes, text: str, theme: Theme, limit: int = 60) -> None:
    """A panel's title, on the left; data in it are made safe."""
    axes.set_title(
        one_line(text, limit), loc="left", fontsize=9, color=theme.text, parse_math=False
    )


def heat(
    axes: Axes,
    values: np.ndarray,
    theme: Theme,
    *,
    low: float | None = None,
    high: float | None = None,
    diverging: bool = False,
    label: str = "",
    bar: bool = True,
) -> Any:
    """A map of (rows, columns), row 0 on top; undefined places stay empty. Returns the image."""
    found = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
    if diverging:
        end = max(abs(v) for v in (low, high, 0.0) if v is not None) or (
            float(np.abs(found).max()) if found.count() else 1.0
        )
        low, high = -(end or 1.0), end or 1.0
    image = axes.imshow(
        found, cmap=DIVERGING if diverging else SEQUENTIAL, vmin=low, vmax=high,
        interpolation="nearest", aspect="equal",
    )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    if bar:
        colour_bar(axes, image, theme, label)
    return image


def say_heads(axes: Axes, values: np.ndarray, label: str, unit: str = "") -> None:
    """Pointing at a map of (layers, heads) says which head it is, and its value."""
    for (layer, head), value in np.ndenumerate(values):
        if np.isfinite(value):
            said = minus(f"{label}: {value:.3g}{unit}")
            square(axes, f"layer {layer}, head {head}\n{said}", head, layer)


def colour_bar(axes: Any, image: Any, theme: Theme, label: str = "") -> None:
    """A colour bar beside one panel, or beside several; panels that were removed are left out."""
    panels = [panel for panel in np.ravel(axes) if panel.figure is not None]
    found = panels[0].figure.colorbar(image, ax=panels, shrink=0.85, aspect=18, pad=0.03)
    found.set_label(label, color=theme.text, fontsize=8)
    found.ax.tick_params(colors=theme.text, labelsize=8)
    found.outline.set_visible(False)


def grid_lines(axes: Axes, rows: int, columns: int, shape: tuple[int, int], theme: Theme) -> None:
    """Lines between the grid's cells, over a map of `shape`."""
    for line in range(1, rows):
        axes.axhline(line * shape[0] / rows - 0.5, color=theme.ground, lw=0.9, alpha=0.9)
    for line in range(1, columns):
        axes.axvline(line * shape[1] / columns - 0.5, color=theme.ground, lw=0.9, alpha=0.9)


def line(
    axes: Axes,
    x: Sequence[float] | np.ndarray,
    y: np.ndarray,
    number: int,
    theme: Theme,
    *,
    band: tuple[np.ndarray, np.ndarray] | None = None,
    label: str | None = None,
    marks: bool = True,
    tips: Sequence[str] = (),
) -> None:
    """One series, the `number`-th of its panel, with a band for its intervals.

    Pointing at each of its points says what `tips` has for it.
    """
    colour = INKS[number % len(INKS)]
    if band is not None and np.isfinite(band[0]).any():
        axes.fill_between(x, *band, color=colour, alpha=0.18, lw=0)
    axes.plot(
        x, y, DASHES[(number // len(INKS)) % len(DASHES)], color=colour, lw=1.8,
        marker=MARKS[number % len(MARKS)] if marks else None, ms=4.5, mec=theme.ground, mew=0.6,
        label=None if label is None else one_line(label, 40).lstrip("_"),
    )  # fmt: skip
    for across, up, tip in zip(x, y, tips, strict=False):
        if np.isfinite(up):
            spot(axes, tip, float(across), float(up), width=0.7 * NEAR)


def dots(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    theme: Theme,
    *,
    colours: Sequence[int] | None = None,
    shift: float = 0.0,
    tips: Sequence[str] = (),
) -> None:
    """Dots with intervals, one a line from the top, names on the left.

    Args:
        colours: the number of each one's colour and mark.
        shift: of all of them downwards, in lines, where several share a line.
        tips: what pointing at each says; the name and the numbers as they are drawn if not given.
    """
    for line, (value, low, high) in enumerate(zip(values, lows, highs, strict=True)):
        n = line + shift
        which = colours[line] if colours is not None else 0
        colour = INKS[which % len(INKS)]
        if not np.isfinite(value):
            continue
        if np.isfinite(low) and np.isfinite(high):
            axes.plot([low, high], [n, n], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot(
            value, n, MARKS[which % len(MARKS)], color=colour, ms=6, mec=theme.ground, mew=0.8,
            zorder=3,
        )  # fmt: skip
        ends = (low, high) if np.isfinite(low) and np.isfinite(high) else (value, value)
        # Where several share a line, each has its part of the line's height.
        width = NEAR if not shift else 0.6 * NEAR
        said = tips[line] if tips else plain_tip(names[line], value, low, high)
        spot(axes, said, ends, n, width=width)
    axes.set_yticks(range(len(names)), [one_line(n, 44) for n in names], parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color=theme.faint, lw=0.5, alpha=0.5)
    axes.margins(x=0.08)


def found_dots(
    axes: Axes,
    names: Sequence[str],
    findings: Sequence[Finding | None],
    theme: Theme,
    *,
    factor: float = 1.0,
    colours: Sequence[int] | None = None,
    shift: float = 0.0,
) -> None:
    """`dots` of findings, times a factor such as 100 for percent; None leaves a line empty."""

    def ends(which: str) -> list[float]:
        return [float("nan") if f is None else factor * getattr(f, which) for f in findings]

    dots(
        axes, names, ends("value"), ends("low"), ends("high"), theme, colours=colours, shift=shift,
        tips=["" if f is None else finding_tip(f) for f in findings],
    )  # fmt: skip


def plain_tip(name: str, value: float, low: float, high: float) -> str:
    """What pointing at a point says of which no more is known than where it stands."""
    ends = f" ({low:.3g} to {high:.3g})" if np.isfinite(low) and np.isfinite(high) else ""
    return f"{one_line(name, 60)}\n{minus(f'{value:.3g}{ends}')}"


def legend(axes: Axes, theme: Theme, **options: Any) -> None:
    """A legend without a frame."""
    found = axes.legend(frameon=False, fontsize=8, labelcolor=theme.text, **options)
    for text in found.get_texts():
        text.set_parse_math(False)
