"""What pointing at a part of a picture says: its name first, then its numbers, a line each.

Where parts lie on one another, their texts are parted by an empty line.

A drawing carries these texts in itself. Over each part lies a shape that cannot be seen, with an
SVG <title>, which a browser shows where the file is opened alone. In a page the text stands in
`data-tip` instead, where the maps of cells have theirs too, and `templates/page.js` shows it on
pointing and on arrow keys.
"""

from __future__ import annotations

import html
import itertools
import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from wheresight.report.numerals import Unit, interval, sign, written
from wheresight.report.texts import printable
from wheresight.runs.results import Estimate

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

NEAR = 14.0  # so near to a mark is on it, in points across
_MARKED = "tip:"  # before the text, in the id that matplotlib gives a shape
_DRAWN = re.compile(rf'<g id="{_MARKED}([^"]*)">')
_TITLED = re.compile(r'<g id="tip-\d+" pointer-events="all"><title>([^<]*)</title>')
_SQUARE = re.compile(
    r'(<g id="tip-\d+" [^>]*><title>[^<]*</title>)\s*<path d="M (\S+) (\S+) \nL \S+ \S+ \n'
    r'L (\S+) (\S+) \nL \S+ \S+ \nL \S+ \S+ \nz\n"[^>]*/>\s*</g>'
)
_HELD = re.compile(r'(?<= class="spot" data-tip=")\d+(?=")')
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")


def number(label: str, estimate: Estimate, unit: Unit, *, signed: bool = False) -> str:
    """Write one line: `Hit rate: 62.5% (50.1 to 71.0)`; a difference is signed, in points."""
    if estimate.value is None:
        return f"{label}: undefined"
    text = written(estimate.value, unit, signed=signed) + sign(unit, difference=signed)
    ends = interval(estimate, unit, signed=signed)
    return f"{label}: {minus(text if ends == '-' else f'{text} ({ends})')}"


def minus(text: str) -> str:
    """Put true minus signs before the negative numbers of a text."""
    return _NEGATIVE.sub("−", text)


def span(estimate: Estimate, factor: float = 1.0) -> tuple[float, float]:
    """Return both ends of an interval times a factor, or the value twice where there is none."""
    ends = (estimate.low, estimate.high)
    low, high = ((estimate.value,) * 2) if None in ends else ends
    return factor * float(low or 0.0), factor * float(high or 0.0)


def spot(
    axes: Axes,
    text: str,
    x: float | tuple[float, float],
    y: float | tuple[float, float],
    width: float = NEAR,
) -> None:
    """Lay an unseen shape over a point, or over a level or upright line, that says `text`.

    Args:
        axes: whose numbers `x` and `y` are.
        text: lines; it may hold texts from data.
        x, y: a number, or the line's two ends.
        width: of the shape, in points.
    """
    across, up = (value if isinstance(value, tuple) else (value, value) for value in (x, y))
    (line,) = axes.plot(
        across, up, color="#808080", alpha=0.0, lw=width, solid_capstyle="round", zorder=9,
        scalex=False, scaley=False,
    )  # fmt: skip
    _say(line, text)


def square(axes: Axes, text: str, x: float, y: float) -> None:
    """The same over a square of a map, whose middle is (x, y) and whose sides are 1."""
    from matplotlib.patches import Rectangle

    patch = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#808080", alpha=0.0, lw=0, zorder=9)
    axes.add_patch(patch)
    _say(patch, text)


def _say(shape: Artist, text: str) -> None:
    shape.set_gid(_MARKED + printable(text))


def titled(svg: bytes) -> bytes:
    """Give the shapes of an SVG that matplotlib wrote a plain id and a <title>."""
    count = itertools.count(1)
    # matplotlib has escaped the text for an attribute, which is more than an element needs.
    # It has also left out the fill of squares, so pointing must find them without.
    opening = '<g id="tip-{}" pointer-events="all"><title>{}</title>'
    return _DRAWN.sub(lambda found: opening.format(next(count), found[1]), svg.decode()).encode()


def taken(svg: str) -> tuple[str, list[str]]:
    """Take the texts out of an SVG, so that nothing else may change them; see `given`."""
    texts: list[str] = []

    def short(found: re.Match[str]) -> str:
        """A square in a third of the letters: a map may have a thousand."""
        left, bottom, right, top = map(float, found.groups()[1:])
        x, width = min(left, right), abs(right - left)
        y, height = min(bottom, top), abs(bottom - top)
        sides = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
        return f"{found[1]}<rect {sides}/></g>"

    def take(found: re.Match[str]) -> str:
        texts.append(html.unescape(found[1]))
        return f'<g class="spot" data-tip="{len(texts) - 1}">'

    return _TITLED.sub(take, _SQUARE.sub(short, svg)), texts


def given(svg: str, texts: list[str]) -> str:
    """Put the texts that were `taken` into the elements of a page."""
    return _HELD.sub(lambda found: str(Markup("{}").format(printable(texts[int(found[0])]))), svg)
