"""Scenes of 2DS, and what is asked of each: drawn until six questions are possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks.draws import Draws
from wheresight.stimuli.benchmarks.relations import (
    OPPOSITE,
    RELATIONS,
    SIDES,
    extreme,
    only_one,
    relates,
)
from wheresight.stimuli.benchmarks.shapes import COLOURS, Scene, Shape

CATEGORIES = (
    "color_abs", "color_rel", "shape_abs", "shape_rel", "shape_color_abs", "shape_color_rel",
)  # fmt: skip
ATTRIBUTES = ("color", "shape", "shape_color")
_TRIES = 20_000  # the unluckiest of the first 500 pictures took 908

Named = Callable[[Shape], str]
VALUE: Mapping[str, Named] = {
    "color": lambda shape: shape.colour,
    "shape": lambda shape: shape.shape,
    "shape_color": lambda shape: shape.name,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the pictures are drawn from; lengths in pixels.

    Attributes:
        images: how many pictures, each with six questions.
        seed: of all draws. Picture n depends on the settings and n alone, not on `images`.
        counts: numbers of shapes, dealt out in turn.
        canvas: width and height.
        smallest, largest: side of a shape's box.
        gap: at least so much is free between two boxes.
        margin: an asked difference of centres is at least this.
        ratio: and at least so many times the difference along the other axis.
        strokes: grey lines that nobody asks for.
        texture: on soft noise instead of white.
        colours, shapes: names to draw from.
    """

    images: int = 500
    seed: int = 0
    counts: tuple[int, ...] = (2, 3, 4, 5, 6)
    canvas: int = 336
    smallest: int = 48
    largest: int = 72
    gap: int = 8
    margin: int = 40
    ratio: float = 1.5
    strokes: int = 0
    texture: bool = False
    colours: tuple[str, ...] = tuple(COLOURS)[:8]
    shapes: tuple[str, ...] = ("circle", "square", "triangle", "star", "pentagon", "cross")


# Other pictures, harder by one thing at a time; `a+b` joins. More shapes need smaller margins.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "standard": {},
    "more_objects": {"counts": (7, 8, 9, 10), "smallest": 36, "largest": 52, "margin": 24},
    "small_margins": {"margin": 20, "ratio": 1.2},
    "distractors": {"strokes": 12},
    "texture": {"texture": True},
    # Few, large, and of names that a model with a small vocabulary may know.
    "small_models": {
        "counts": (2, 3, 4),
        "smallest": 72,
        "largest": 96,
        "colours": ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black"),
        "shapes": ("circle", "square", "triangle", "diamond"),
    },
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a scene.

    Attributes:
        kind: `side` (what is at a side), `which` (what is left of X), `whether` (is X left of Y).
        attribute: `color`, `shape` or `shape_color`: how things are named.
        way: the side, or the relation.
        subject: the shape that is the answer, or X.
        reference: the shape it is seen from; -1 for none.
    """

    kind: str
    attribute: str
    way: str
    subject: int
    reference: int = -1

    @property
    def category(self) -> str:
        """One of CATEGORIES."""
        return f"{self.attribute}_{'abs' if self.kind == 'side' else 'rel'}"


def plan(settings: Settings, number: int) -> tuple[Scene, tuple[Ask, ...]]:
    """Picture `number` and what is asked of it, one question in each of CATEGORIES.

    What kind of question each category gets is dealt out in turn, so that sides, relations and
    answers are balanced; scenes are drawn until one allows all six.

    Raises:
        StimulusError: if none does, which says that the settings ask for too much.
    """
    count = settings.counts[number % len(settings.counts)]
    dealt = _deal(settings, count, number // len(settings.counts))
    draws = Draws(f"2ds\0{_key(settings)}\0{number}")
    for _ in range(_TRIES):
        placed = _placed(settings, draws, count)
        if placed is None or not _sides_found(placed, dealt, settings.margin):
            continue
        looks = draws.shuffled([(c, s) for c in settings.colours for s in settings.shapes])
        shapes = [
            replace(shape, colour=colour, shape=form)
            for shape, (colour, form) in zip(placed, looks, strict=False)
        ]
        asks = [_found(shapes, wanted, settings, draws) for wanted in dealt]
        if all(ask is not None for ask in asks):
            strokes = _strokes(settings, draws, shapes)
            texture = f"{_key(settings)}\0{number}" if settings.texture else None
            scene = Scene(tuple(shapes), settings.canvas, strokes, texture)
            return scene, tuple(ask for ask in asks if ask is not None)
    raise StimulusError(
        f"No picture of {count} shapes of up to {settings.largest} px was found on "
        f"{settings.canvas} px with margins of {settings.margin} px that allows all six questions. "
        "Take fewer or smaller shapes, a larger canvas, or smaller margins."
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The kind of question a category is to get."""

    attribute: str
    kind: str
    way: str
    true: bool = True


def _deal(settings: Settings, count: int, turn: int) -> list[_Wanted]:
    """What the `turn`-th picture of so many shapes is to be asked, by CATEGORIES.

    Four turns make a block, in which each side comes once, Yes once, No once, and both signs of
    the axis twice. The three relative questions of a picture share their axis, since two shapes
    cannot be clearly beside and clearly above each other.
    """
    block, place = divmod(turn, 4)

    def dealt(name: str, hand: Sequence[Any]) -> Any:
        draws = Draws(f"deal\0{settings.seed}\0{count}\0{block}\0{name}")
        return draws.shuffled(hand)[place]

    axis = dealt("axis", (0, 0, 1, 1))
    found = []
    for attribute in ATTRIBUTES:
        found.append(_Wanted(attribute, "side", dealt(f"{attribute}_abs", SIDES)))
        kind = dealt(f"{attribute}_rel", ("yes", "no", "which", "which"))
        way = RELATIONS[2 * axis + dealt(f"{attribute}_sign", (0, 0, 1, 1))]
        found.append(
            _Wanted(attribute, "which" if kind == "which" else "whether", way, kind != "no")
        )
    return found


def _placed(settings: Settings, draws: Draws, count: int) -> list[Shape] | None:
    """Shapes without looks, none touching another or the rim; None if they find no room."""
    found: list[Shape] = []
    tries = 0
    while len(found) < count:
        side = draws.between(settings.smallest, settings.largest)
        half = side // 2 + 4
        x, y = (draws.between(half, settings.canvas - half - 1) for _ in range(2))
        shape = Shape("", "", x, y, side)
        if all(shape.apart(other, settings.gap) for other in found):
            found.append(shape)
        tries += 1
        if tries > 20 * count:
            return None
    return found


def _sides_found(placed: Sequence[Shape], dealt: Sequence[_Wanted], margin: int) -> bool:
    sides = {wanted.way for wanted in dealt if wanted.kind == "side"}
    return all(extreme(placed, side, margin) is not None for side in sides)


def _found(
    shapes: Sequence[Shape], wanted: _Wanted, settings: Settings, draws: Draws
) -> Ask | None:
    """A question of the wanted kind that these shapes allow, drawn among all there are."""
    if wanted.kind == "side":
        subject = extreme(shapes, wanted.way, settings.margin)
        return None if subject is None else Ask("side", wanted.attribute, wanted.way, subject)
    names = [VALUE[wanted.attribute](shape) for shape in shapes]
    clear = [n for n, name in enumerate(names) if names.count(name) == 1]
    found = list(_pairs(shapes, wanted, settings, clear))
    if not found:
        return None
    subject, reference = found[draws.below(len(found))]
    return Ask(wanted.kind, wanted.attribute, wanted.way, subject, reference)


def _pairs(
    shapes: Sequence[Shape], wanted: _Wanted, settings: Settings, clear: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Subjects and references of which the wanted question can be asked."""
    margin, ratio = settings.margin, settings.ratio
    if wanted.kind == "which":
        for reference in clear:
            subject = only_one(shapes, reference, wanted.way, margin, ratio)
            if subject is not None:
                yield subject, reference
        return
    way = wanted.way if wanted.true else OPPOSITE[wanted.way]
    for subject in clear:
        for reference in clear:
            if subject != reference and relates(
                shapes[subject], shapes[reference], way, margin, ratio
            ):
                yield subject, reference


def _strokes(
    settings: Settings, draws: Draws, shapes: Sequence[Shape]
) -> tuple[tuple[int, int, int, int], ...]:
    """Grey lines where there is room; fewer where there is little."""
    found: list[tuple[int, int, int, int]] = []
    for _ in range(40 * settings.strokes):
        if len(found) == settings.strokes:
            break
        side = draws.between(12, 24)
        x, y = (draws.between(side, settings.canvas - side - 1) for _ in range(2))
        if all(Shape("", "", x, y, side).apart(other, settings.gap) for other in shapes):
            half, tilt = side // 2, draws.between(-1, 1) * side // 2
            found.append((x - half, y - tilt, x + half, y + tilt))
    return tuple(found)


def _key(settings: Settings) -> str:
    """All settings that decide one picture, as text."""
    return "\0".join(
        f"{field.name}={getattr(settings, field.name)}"
        for field in fields(settings)
        if field.name != "images"
    )
