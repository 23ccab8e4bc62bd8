"""Colour scales that colour-blind people can read, and the text colour that stands out on them.

Terminal and page use these without matplotlib; a test holds them to matplotlib's own scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Rgb = tuple[int, int, int]

SEQUENTIAL = "cividis"
DIVERGING = "PuOr"

# fmt: off
_SEQUENTIAL = (
    "#00224e", "#002e6a", "#1a386f", "#32436d", "#434e6c", "#535a6d",
    "#61656f", "#6f7073", "#7d7c78", "#8c8878", "#9b9476", "#aba072",
    "#bcae6c", "#cdbb63", "#dec958", "#f0d846", "#fee838",
)
_DIVERGING = (
    "#7f3b08", "#a04d07", "#be630a", "#db7d12", "#ef9e3c", "#fdbd6e",
    "#fed7a2", "#fbe9cf", "#f6f6f7", "#e3e4ef", "#cecde4", "#b6b0d4",
    "#988dbe", "#7967a6", "#5d3790", "#44176f", "#2d004b",
)
# fmt: on


@dataclass(frozen=True)
class Scale:
    """A colour for each number between two ends; numbers beyond an end get its colour.

    Attributes:
        low, high: the numbers at the ends.
        diverging: whether the scale has a neutral middle (differences) or not (rates).
    """

    low: float
    high: float
    diverging: bool = False

    def colour(self, value: float) -> Rgb:
        """Return the colour of a number."""
        anchors = _DIVERGING if self.diverging else _SEQUENTIAL
        share = (value - self.low) / (self.high - self.low)
        at = min(max(share, 0.0), 1.0) * (len(anchors) - 1)
        below = min(int(at), len(anchors) - 2)
        start, end = _rgb(anchors[below]), _rgb(anchors[below + 1])
        red, green, blue = (
            round(a + (b - a) * (at - below)) for a, b in zip(start, end, strict=True)
        )
        return red, green, blue


def rates_scale(values: Iterable[float]) -> Scale:
    """Return one scale for rates (0 to 1), wide enough that small differences stay small.

    Ends are multiples of 5 percentage points and at least 20 points apart, so that noise of a
    point or two is not painted as a pattern.
    """
    found = sorted(values) or [0.0, 1.0]
    low = math.floor(found[0] * 20 + 1e-9)
    high = math.ceil(found[-1] * 20 - 1e-9)
    while high - low < 4:
        low, high = max(0, low - 1), min(20, high + 1)
    return Scale(low / 20, high / 20)


def differences_scale(values: Iterable[float]) -> Scale:
    """Return one scale for differences of rates, with 0 in its middle and at least 10 points."""
    largest = max((abs(value) for value in values), default=0.0)
    end = max(2, math.ceil(largest * 20 - 1e-9)) / 20
    return Scale(-end, end, diverging=True)


def ink(background: Rgb) -> Rgb:
    """Return black or white, whichever has more contrast; at least 4.5 to 1 on any colour."""
    black, white = (0, 0, 0), (255, 255, 255)
    return black if contrast(black, background) >= contrast(white, background) else white


def contrast(first: Rgb, second: Rgb) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def hexadecimal(colour: Rgb) -> str:
    """Write a colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _rgb(text: str) -> Rgb:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _luminance(colour: Rgb) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
