"""Pictures of a tuning: a curve over one parameter, maps over two or three.

All show the validation part, which the choice was made on, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wheresight.report.colours import Scale, differences_scale, hexadecimal, ink
from wheresight.report.diagnostics.plots import INKS, dots, legend, panels, titled
from wheresight.report.figures import Picture, Theme
from wheresight.report.numerals import quantity, written
from wheresight.report.texts import one_line
from wheresight.report.tips import number, span, spot, square
from wheresight.report.tuning import measured, setting
from wheresight.runs.tuned import CandidateResult, Tuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS = 12
_MOST_SIDE = 16  # values on a side of a map whose numbers can be read
_MOST_LINES = 24


def picture(tuned: Tuned) -> Picture:
    """All settings on the validation part: a curve, maps, or, for more axes, the best ones."""
    axes = tuned.grid.axes
    said = "; ".join(f"{setting(tuned, one.spec)} {_said(one)}" for one in tuned.candidates[:60])
    title = f"Validation part, used for choosing: {measured(tuned)}, %"
    alt = f"{title}. {said}."
    if len(axes) == 1:
        return Picture("validation", title, alt, lambda theme: _curve(tuned, theme))
    sides = [len(axis.values) for axis in axes]
    if (
        len(axes) in (2, 3)
        and max(sides[:2]) <= _MOST_SIDE
        and (sides[2:] or [1])[0] <= _MOST_PANELS
    ):
        title = f"Validation part, used for choosing: {measured(tuned)}, points from none"
        return Picture("validation", title, alt, lambda theme: _maps(tuned, theme))
    return Picture("validation", title, alt, lambda theme: _dots(tuned, theme))


def _curve(tuned: Tuned, theme: Theme) -> Figure:
    """The number over one parameter, beside the model as it is."""
    figure, found = panels(1, 1, (5.6, 3.3), theme)
    axes: Axes = found[0, 0]
    stock, settings = tuned.candidates[0], tuned.candidates[1:]
    (name,) = (axis.name for axis in tuned.grid.axes)
    words = [one.values[name] for one in settings]
    places, by_number = _places(words)
    order = np.argsort(places, kind="stable")
    values = np.array([_value(one) for one in settings])[order]
    ends = np.array([_ends(one) for one in settings])[order]
    at = np.array(places)[order]
    low, high = _ends(stock)
    axes.axhspan(low, high, color=theme.faint, alpha=0.15, lw=0)
    axes.axhline(_value(stock), color=theme.faint, lw=1.5, ls="--", label="none")
    axes.errorbar(
        at, values, yerr=np.abs(ends.T - values), fmt="o-" if by_number else "o", color=INKS[0],
        lw=1.6, elinewidth=1.0, ms=5, mec=theme.ground, mew=0.7, label="setting",
    )  # fmt: skip
    chosen = [n for n, one in enumerate(settings) if one.spec == tuned.choice.spec]
    for n in chosen:
        axes.plot(
            places[n], _value(settings[n]), "D", color=INKS[1], ms=9, mec=theme.ground, mew=1,
            label="chosen", zorder=4, ls="",
        )  # fmt: skip
    for place, one in zip(places, settings, strict=True):
        if one.objective.value is not None:
            spot(axes, _tip(tuned, one), place, span(one.objective, 100))
    axes.set_xticks(places, [one_line(word, 16) for word in words], parse_math=False)
    axes.set_xlabel(one_line(name, 40), parse_math=False)
    axes.set_ylabel(f"{tuned.chosen_by.label}, %", parse_math=False)
    axes.grid(axis="y", color=theme.faint, lw=0.5, alpha=0.4)
    titled(axes, "Validation part, used for choosing: not a result", theme)
    legend(axes, theme, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _maps(tuned: Tuned, theme: Theme) -> Figure:
    """The difference from the model as it is over two parameters, a map for each of a third."""
    axes = tuned.grid.axes
    rows, columns = axes[0], axes[1]
    thirds: Sequence[str | None] = axes[2].values if len(axes) == 3 else [None]
    across = min(len(thirds), 3)
    down = -(-len(thirds) // across)
    size = (max(1.9, 0.62 * len(columns.values) + 0.8), max(1.6, 0.46 * len(rows.values) + 0.9))
    figure, found = panels(down, across, size, theme)
    by_values = {tuple(one.values.values()): one for one in tuned.candidates if one.values}
    known = [v for one in by_values.values() if (v := _change(one)) is not None]
    scale = differences_scale(known)
    for place, third in enumerate(thirds):
        panel: Axes = found.flat[place]
        for y, row in enumerate(rows.values):
            for x, column in enumerate(columns.values):
                key = (row, column) if third is None else (row, column, third)
                one = by_values.get(key)
                _square(panel, x, y, one, scale, tuned.choice.spec, theme)
                if one is not None:
                    square(panel, _tip(tuned, one), x, y)
        panel.set(xlim=(-0.5, len(columns.values) - 0.5), ylim=(len(rows.values) - 0.5, -0.5))
        panel.set_xticks(range(len(columns.values)), columns.values, parse_math=False)
        panel.set_yticks(range(len(rows.values)), rows.values, parse_math=False)
        panel.set_xlabel(one_line(columns.name, 24), parse_math=False)
        panel.set_ylabel(one_line(rows.name, 24), parse_math=False)
        if third is not None:
            titled(panel, f"{axes[2].name} {third}", theme)
    for panel in found.flat[len(thirds) :]:
        panel.remove()
    stock = written(tuned.candidates[0].objective.value, "share")
    figure.supxlabel(
        f"Points from none ({stock} %). Validation part, used for choosing: not a result. "
        "The frame is the choice.",
        color=theme.text, fontsize=8,
    )  # fmt: skip
    return figure


def _square(
    panel: Axes,
    x: int,
    y: int,
    one: CandidateResult | None,
    scale: Scale,
    chosen: str,
    theme: Theme,
) -> None:
    from matplotlib.patches import Rectangle

    change = None if one is None else _change(one)
    if one is None or change is None:
        return
    ground = scale.colour(change)
    panel.add_patch(
        Rectangle(
            (x - 0.5, y - 0.5), 1, 1, facecolor=hexadecimal(ground), edgecolor=theme.ground, lw=2
        )
    )
    text = written(change, "share", signed=True).replace("-", "−")
    panel.text(
        x, y, text, ha="center", va="center", color=hexadecimal(ink(ground)), fontsize=8.5,
        parse_math=False,
    )  # fmt: skip
    if one.spec == chosen:
        panel.add_patch(
            Rectangle(
                (x - 0.44, y - 0.44),
                0.88,
                0.88,
                fill=False,
                edgecolor=hexadecimal(ink(ground)),
                lw=2,
            )
        )


def _dots(tuned: Tuned, theme: Theme) -> Figure:
    """The best settings with intervals, the model as it is first."""
    rest = sorted(tuned.candidates[1:], key=lambda one: -_value(one))[:_MOST_LINES]
    shown = [tuned.candidates[0], *rest]
    figure, found = panels(1, 1, (6.5, 0.6 + 0.24 * len(shown)), theme)
    axes: Axes = found[0, 0]
    ends = [_ends(one) for one in shown]
    dots(
        axes, [setting(tuned, one.spec) for one in shown], [_value(one) for one in shown],
        [low for low, _ in ends], [high for _, high in ends], theme,
        colours=[1 if one.spec == tuned.choice.spec else 0 for one in shown],
        tips=[_tip(tuned, one) for one in shown],
    )  # fmt: skip
    titled(axes, "Validation part, used for choosing: not a result", theme)
    axes.set_xlabel(f"{tuned.chosen_by.label}, %", parse_math=False)
    return figure


def _tip(tuned: Tuned, one: CandidateResult) -> str:
    """What pointing at a setting says."""
    lines = [one_line(setting(tuned, one.spec), 120)]
    if one.spec == tuned.choice.spec:
        lines[0] += " (chosen)"
    lines.append(number(tuned.chosen_by.label, one.objective, "share"))
    if one.minus_none is not None:
        lines.append(number("minus none", one.minus_none, "share", signed=True))
    return "\n".join([*lines, quantity(tuned.split.validation.questions, "question")])


def _places(words: Sequence[str]) -> tuple[list[float], bool]:
    """Where values stand: numbers at their size, words one after another."""
    try:
        return [float(word) for word in words], True
    except ValueError:
        return [float(n) for n in range(len(words))], False


def _value(one: CandidateResult) -> float:
    return float("nan") if one.objective.value is None else 100 * one.objective.value


def _ends(one: CandidateResult) -> tuple[float, float]:
    low, high = one.objective.low, one.objective.high
    if low is None or high is None:
        return _value(one), _value(one)
    return 100 * low, 100 * high


def _change(one: CandidateResult) -> float | None:
    return one.minus_none.value if one.minus_none is not None else None


def _said(one: CandidateResult) -> str:
    return f"{written(one.objective.value, 'share')} %"
