"""Which shape is at a side of the picture, and which is left of, right of, above, below another.

A relation counts only where nobody would argue: by centres, at least `margin` pixels along its own
axis, and at least `ratio` times as far along it as across it.
"""

from __future__ import annotations

from collections.abc import Sequence

from wheresight.stimuli.benchmarks.shapes import Shape

SIDES = ("left", "right", "top", "bottom")
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_WAY = {
    "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1),
    "left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1),
}  # fmt: skip


def extreme(shapes: Sequence[Shape], side: str, margin: int) -> int | None:
    """The shape that is farthest to a side, by `margin` pixels or more; None if none is."""
    x, y = _WAY[side]
    reach = [shape.x * x + shape.y * y for shape in shapes]
    order = sorted(range(len(shapes)), key=lambda n: -reach[n])
    return order[0] if reach[order[0]] - reach[order[1]] >= margin else None


def relates(one: Shape, other: Shape, relation: str, margin: int, ratio: float) -> bool:
    """Whether `one relation other` holds beyond dispute."""
    along, across = _offsets(one, other, relation)
    return along >= margin and along >= ratio * across


def might_relate(one: Shape, other: Shape, relation: str, ratio: float) -> bool:
    """Whether somebody might say so: on that side at all, and not clearly more above than beside.

    What relates beyond dispute might relate, too.
    """
    along, across = _offsets(one, other, relation)
    return along > 0 and across < ratio * along


def only_one(
    shapes: Sequence[Shape], reference: int, relation: str, margin: int, ratio: float
) -> int | None:
    """The only shape of which `it relation reference` might be said, if it holds; else None."""
    found = [
        n
        for n, shape in enumerate(shapes)
        if n != reference and might_relate(shape, shapes[reference], relation, ratio)
    ]
    if len(found) != 1 or not relates(shapes[found[0]], shapes[reference], relation, margin, ratio):
        return None
    return found[0]


def _offsets(one: Shape, other: Shape, relation: str) -> tuple[int, int]:
    """How far `one` is from `other` along the relation's way, and across it (never negative)."""
    x, y = _WAY[relation]
    right, down = one.x - other.x, one.y - other.y
    return right * x + down * y, abs(right * y) + abs(down * x)
