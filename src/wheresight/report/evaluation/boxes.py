"""Boxes of the things that a question is about, laid over the picture of an example.

Boxes and labels come from annotations, which are untrusted: a box may lie partly or wholly outside
of its picture, and a label is only text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wheresight.report.texts import one_line
from wheresight.report.thumbnails import Render
from wheresight.stimuli.benchmarks.question import Box

MOST = 12  # of one picture; more would hide it
_SPARE = 20.0  # percent of the picture's side by which a box may be drawn beyond its edge, unseen

LabelledBox = tuple[Box, str]  # left, top, right, bottom in pixels; the label may be empty


def _none(question: str) -> Sequence[LabelledBox]:
    return ()


@dataclass(frozen=True)
class AtHand:
    """What the page can show of a benchmark's questions, by their ids.

    Attributes:
        picture: draws the picture of a question.
        boxes: of the things that it is about; none where they are not known.
    """

    picture: Render
    boxes: Callable[[str], Sequence[LabelledBox]] = _none


@dataclass(frozen=True)
class Outline:
    """One box over its picture.

    Attributes:
        number: from 1, in the benchmark's order; it stands beside the box and before its label.
        label: what is in it; may be empty.
        left, top, width, height: in percent of the picture's sides; what lies beyond its edge is
            cut off by the page.
        tip: what pointing at it says.
    """

    number: int
    label: str
    left: float
    top: float
    width: float
    height: float
    tip: str

    @property
    def style(self) -> str:
        """Its place, of numbers alone."""
        sides = (("left", self.left), ("top", self.top),
                 ("width", self.width), ("height", self.height))  # fmt: skip
        return ";".join(f"{name}:{value:.3f}%" for name, value in sides)


@dataclass(frozen=True)
class Outlines:
    """The boxes of one picture.

    Attributes:
        shown: in the benchmark's order.
        outside: how many lie wholly outside of the picture.
        more: how many were left out because there are so many.
    """

    shown: list[Outline] = field(default_factory=list)
    outside: int = 0
    more: int = 0

    @property
    def painted(self) -> list[Outline]:
        """The largest first, so that pointing finds a small one that lies in a large one."""
        return sorted(self.shown, key=lambda one: -one.width * one.height)


def outlines(boxes: Sequence[LabelledBox], size: tuple[int, int]) -> Outlines:
    """Lay boxes over a picture of (width, height) pixels."""
    found: list[Outline] = []
    outside = 0
    for (left, top, right, bottom), label in boxes:
        seen = (
            all(map(math.isfinite, (left, top, right, bottom)))
            and max(left, 0.0) < min(right, size[0])
            and max(top, 0.0) < min(bottom, size[1])
        )
        if not seen:
            outside += 1
            continue
        xs, ys = (
            [min(max(100 * end / side, -_SPARE), 100 + _SPARE) for end in ends]
            for ends, side in (((left, right), size[0]), ((top, bottom), size[1]))
        )
        number, said = len(found) + 1, one_line(label, 60)
        where = f"{left:,.4g} to {right:,.4g} across, {top:,.4g} to {bottom:,.4g} down, in pixels"
        cut = left < 0 or top < 0 or right > size[0] or bottom > size[1]
        lines = [said or f"Box {number}", where] + ["Partly outside of the picture"] * cut
        found.append(
            Outline(number, said, xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0], "\n".join(lines))
        )
    return Outlines(found[:MOST], outside, max(0, len(found) - MOST))
