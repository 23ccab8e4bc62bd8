"""The plane: robustness across, awareness up, an interval on each, and the Pareto front.

Filled marks are on the front, hollow ones off it; the ground is shaded where some point on the
front is better on both axes; `?` stands behind those whose place the intervals leave open. Labels
are put where they cover nothing, with a line to their point where that is far.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheresight.report.diagnostics.plots import INKS, MARKS, plain, titled
from wheresight.report.figures import Picture, Theme
from wheresight.report.numerals import interval, written
from wheresight.report.texts import one_line
from wheresight.report.tips import number as tip_line
from wheresight.report.tips import spot
from wheresight.report.verdict import words
from wheresight.runs.results import Estimate
from wheresight.runs.verdict import Placed, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "plane"
_SIZES = {"wide": (7.2, 5.4), "narrow": (4.2, 4.8)}  # inches
_LETTERS = {"wide": 40, "narrow": 22}  # of a label
_MARK = 7.0  # points
_REACHES = (8.0, 14.0, 22.0, 34.0, 48.0, 66.0, 90.0)  # from a point to its label, points
_ANGLES = tuple(math.radians(a) for a in (20, 160, -20, -160, 90, -90, 50, 130, -50, -130, 0, 180))
_ASTRAY = 60.0  # what it costs to be nearer to another mark
_LEADER = 14.0  # a label farther off is tied to its point
_REACH = 18.0  # pointing so near to a mark, across, says its numbers


@dataclass(frozen=True)
class Box:
    """A rectangle on the picture, in points."""

    left: float
    bottom: float
    right: float
    top: float

    def covers(self, other: Box) -> float:
        """The area that two have in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def meets(self, other: Box) -> bool:
        """Do they touch? A line is a box without a width or height."""
        across = self.left < other.right and other.left < self.right
        up = self.bottom < other.top and other.bottom < self.top
        return across and up

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.top - self.bottom)


def plane(verdict: Verdict, shape: str = "wide") -> Picture:
    """Return the plane.

    Args:
        verdict: the comparison.
        shape: wide, or narrow for small screens.
    """
    said = [
        f"{one_line(one.intervention, 60)}: {words.ROBUSTNESS.lower()} "
        f"{_said(one.robustness.estimate)}, awareness {_said(one.awareness.estimate)}"
        for one in verdict.interventions
    ]
    model = one_line(str(verdict.model.get("model", "a model")), 40)
    return Picture(
        NAME,
        f"{model}: robustness and awareness of {len(said)} interventions",
        f"{'; '.join(said)}. {words.front_note(verdict)} Counted: {words.counted(verdict)}.",
        lambda theme: _drawn(verdict, shape, theme),
        trim=False,
    )


def _said(estimate: Estimate) -> str:
    return f"{written(estimate.value, 'share')}% ({interval(estimate, 'share')})"


def _drawn(verdict: Verdict, shape: str, theme: Theme) -> Figure:
    from matplotlib.figure import Figure

    width, height = _SIZES[shape]
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (0.72 / width, 0.62 / height, (width - 0.92) / width, (height - 1.0) / height)
    )
    plain(axes, theme)
    titled(axes, f"{verdict.model.get('model')}: robustness and awareness", theme)
    axes.grid(color=theme.faint, lw=0.5, alpha=0.35)
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"{words.ROBUSTNESS}, % of items", fontsize=9.5)
    axes.set_ylabel(f"{words.AWARENESS}, % (0 is guessing)", fontsize=9.5)
    placed = [one for one in verdict.interventions if None not in _point(one)]
    points = [(float(x), float(y)) for x, y in map(_point, placed)]  # type: ignore[arg-type]
    _limits(axes, placed)
    _quiet_lines(axes, verdict, points, theme)
    for number, (one, point) in enumerate(zip(placed, points, strict=True)):
        colour, mark = INKS[number % len(INKS)], MARKS[number % len(MARKS)]
        _cross(axes, one, point, colour)
        axes.plot(
            *point, mark, color=colour, ms=_MARK, mew=1.3, zorder=4, mec=colour,
            mfc=colour if one.standing.on_front else theme.ground,
        )  # fmt: skip
    limit = _LETTERS[shape]
    names = [
        one_line(one.intervention, limit) + ("" if one.standing.settled else " ?") for one in placed
    ]
    _label(axes, names, points, theme)
    for point, texts in _together(verdict, placed, points).items():
        spot(axes, "\n\n".join(texts), *point, width=_REACH)
    return figure


def _together(
    verdict: Verdict, placed: Sequence[Placed], points: Sequence[tuple[float, float]]
) -> dict[tuple[float, float], list[str]]:
    """What pointing at each place says: of points that lie on one another, all."""
    found: dict[tuple[float, float], list[str]] = {}
    for one, point in zip(placed, points, strict=True):
        found.setdefault(point, []).append(_tip(verdict, one))
    return found


def _tip(verdict: Verdict, one: Placed) -> str:
    lines = [one_line(one.intervention, 60)]
    for name, side in ((words.ROBUSTNESS, one.robustness), (words.AWARENESS, one.awareness)):
        lines.append(tip_line(name, side.estimate, "share"))
        if side.difference is not None:
            reference = f"minus {one_line(verdict.reference, 40)}"
            lines.append(tip_line(reference, side.difference, "share", signed=True))
    return "\n".join([*lines, words.counted(verdict)])


def _point(one: Placed) -> tuple[float | None, float | None]:
    return _percent(one.robustness.estimate.value), _percent(one.awareness.estimate.value)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _ends(estimate: Estimate) -> tuple[float, float] | None:
    if estimate.low is None or estimate.high is None:
        return None
    return 100 * estimate.low, 100 * estimate.high


def _limits(axes: Axes, placed: Sequence[Placed]) -> None:
    """Room for every interval, at least 10 points on each axis, and some more for labels."""
    for side, set_limits in (("robustness", axes.set_xlim), ("awareness", axes.set_ylim)):
        estimates = [getattr(one, side).estimate for one in placed]
        values = [100 * e.value for e in estimates if e.value is not None]
        values += [end for e in estimates for end in _ends(e) or ()]
        low, high = min(values, default=0.0), max(values, default=100.0)
        spare = max(0.0, 10 - (high - low)) / 2 + 0.08 * max(10.0, high - low)
        set_limits(low - spare, high + spare)


def _quiet_lines(
    axes: Axes, verdict: Verdict, points: Sequence[tuple[float, float]], theme: Theme
) -> None:
    """What the front dominates, both axes through the reference, and what blank pictures reach."""
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    placed = [one for one in verdict.interventions if None not in _point(one)]
    both = zip(placed, points, strict=True)
    beyond = left
    for x, y in sorted({point for one, point in both if one.standing.on_front}):
        axes.fill_between((beyond, x), bottom, y, color=theme.faint, alpha=0.13, lw=0, zorder=0)
        beyond = x
    for one, point in zip(placed, points, strict=True):
        if one.intervention == verdict.reference:
            axes.axvline(point[0], color=theme.faint, lw=1, ls=":", zorder=1)
            axes.axhline(point[1], color=theme.faint, lw=1, ls=":", zorder=1)
    blind = words.blind(verdict)
    if blind is not None and axes.get_ylim()[0] < 100 * blind < axes.get_ylim()[1]:
        axes.axhline(100 * blind, color=theme.faint, lw=1, ls="-.", zorder=1)
        axes.annotate(
            "blank pictures", (1, 100 * blind), xycoords=("axes fraction", "data"), fontsize=7.5,
            xytext=(-2, 2), textcoords="offset points", ha="right", color=theme.faint,
        )  # fmt: skip


def _cross(axes: Axes, one: Placed, point: tuple[float, float], colour: str) -> None:
    x, y = point
    across, up = _ends(one.robustness.estimate), _ends(one.awareness.estimate)
    if across is not None:
        axes.plot(across, (y, y), color=colour, lw=1.3, alpha=0.5, zorder=2)
    if up is not None:
        axes.plot((x, x), up, color=colour, lw=1.3, alpha=0.5, zorder=2)


def _label(
    axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]], theme: Theme
) -> None:
    """Write each name beside its point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    renderer = FigureCanvasAgg(axes.figure).get_renderer()  # type: ignore[arg-type]
    scale = 72 / axes.figure.dpi  # pixels to points
    sizes, marks, lines = [], [], []
    for name, point in zip(names, points, strict=True):
        text = axes.text(0, 0, name, fontsize=8.5, parse_math=False)
        extent = text.get_window_extent(renderer)
        text.remove()
        sizes.append((extent.width * scale, extent.height * scale))
        x, y = axes.transData.transform(point) * scale
        marks.append((float(x), float(y)))
    for drawn in axes.lines:
        ends = drawn.get_transform().transform(drawn.get_xydata()) * scale
        lines.append(Box(*ends.min(axis=0).tolist(), *ends.max(axis=0).tolist()))
    frame = axes.get_window_extent(renderer)
    inside = Box(frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    for name, point, mark, box in zip(
        names, points, marks, places(marks, sizes, lines, inside), strict=True
    ):
        middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        far = _gap(mark, box) > _LEADER or _astray(mark, box, marks)
        axes.annotate(
            name, point, xytext=(middle[0] - mark[0], middle[1] - mark[1]),
            textcoords="offset points", ha="center", va="center", fontsize=8.5, color=theme.text,
            parse_math=False, zorder=5,
            arrowprops={"arrowstyle": "-", "color": theme.faint, "lw": 0.8, "shrinkB": 4}
            if far else None,
            path_effects=[withStroke(linewidth=2.2, foreground=theme.ground, alpha=0.8)],
        )  # fmt: skip


def places(
    marks: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    lines: Sequence[Box],
    inside: Box,
) -> list[Box]:
    """Return a box for each label, near its mark, over no mark and no other label if there is room.

    Args:
        marks: where the points are, in points.
        sizes: width and height of each label.
        lines: upright and level lines that had better stay free.
        inside: where labels may stand.

    Labels are placed one after another, each where it covers least: other labels and marks first,
    then lines; then where no other mark is nearer to it than its own; then the nearest place.
    """
    dots = [_around(mark, _MARK / 2 + 1) for mark in marks]
    found: list[Box] = []
    for mark, size in zip(marks, sizes, strict=True):
        tried = [
            (
                _cost(box, mark, [*found, *dots], lines, inside)
                + _ASTRAY * _astray(mark, box, marks),
                n,
                box,
            )
            for n, box in enumerate(_candidates(mark, size))
        ]
        found.append(min(tried, key=lambda t: t[:2])[2])
    return found


def _candidates(mark: tuple[float, float], size: tuple[float, float]) -> list[Box]:
    found = []
    for reach, angle in itertools.product(_REACHES, _ANGLES):
        x, y = mark[0] + reach * math.cos(angle), mark[1] + reach * math.sin(angle)
        # The box touches that point with the side or the corner that faces the mark.
        left = x - size[0] * _facing(math.cos(angle), 0.2)
        bottom = y - size[1] * _facing(math.sin(angle), 0.5)
        found.append(Box(left, bottom, left + size[0], bottom + size[1]))
    return found


def _facing(direction: float, least: float) -> float:
    """Which part of a side faces the mark: its beginning, its middle or its end."""
    return 0.0 if direction > least else 1.0 if direction < -least else 0.5


def _cost(
    box: Box,
    mark: tuple[float, float],
    taken: Sequence[Box],
    lines: Sequence[Box],
    inside: Box,
) -> float:
    covered = sum(box.covers(other) for other in taken)
    outside = box.area - box.covers(inside)
    crossed = sum(box.meets(line) for line in lines)
    return 1000 * (covered + outside) + 10 * crossed + _gap(mark, box)


def _gap(mark: tuple[float, float], box: Box) -> float:
    across = max(box.left - mark[0], 0.0, mark[0] - box.right)
    up = max(box.bottom - mark[1], 0.0, mark[1] - box.top)
    return math.hypot(across, up)


def _astray(mark: tuple[float, float], box: Box, marks: Sequence[tuple[float, float]]) -> bool:
    """Might a label be taken for that of another mark, which is nearer to it?"""
    own = _gap(mark, box)
    return any(_gap(other, box) < own - 0.5 for other in marks)


def _around(mark: tuple[float, float], reach: float) -> Box:
    return Box(mark[0] - reach, mark[1] - reach, mark[0] + reach, mark[1] + reach)
