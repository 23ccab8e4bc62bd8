"""2DS: where are coloured shapes on a plain canvas, seen alone and seen from each other?

After "Beyond Semantics" (arXiv 2503.17349): 500 pictures of 2 to 6 coloured shapes, 3,000
questions, six categories of 500. The published generator was never released; canvas, palette,
sizes, margins, wordings and the balance of answers are ours, so the numbers are not those of the
paper's table. A quarter of the relative questions has the answer Yes, a quarter No, and half ask
which thing it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from PIL import Image

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli.benchmarks.about import About
from wheresight.stimuli.benchmarks.draws import Draws
from wheresight.stimuli.benchmarks.options import refuse_unknown, whole_number
from wheresight.stimuli.benchmarks.question import Question, answer_with, check_questions
from wheresight.stimuli.benchmarks.relations import (
    OPPOSITE,
    RELATIONS,
    SIDES,
    extreme,
    only_one,
    relates,
)
from wheresight.stimuli.benchmarks.shapes import COLOURS, Scene, Shape, draw

CATEGORIES = (
    "color_abs", "color_rel", "shape_abs", "shape_rel", "shape_color_abs", "shape_color_rel",
)  # fmt: skip
ATTRIBUTES = ("color", "shape", "shape_color")
CHOICES = 4
_TRIES = 20_000  # the unluckiest of the first 500 pictures took 908

Named = Callable[[Shape], str]
_VALUE: Mapping[str, Named] = {
    "color": lambda shape: shape.colour,
    "shape": lambda shape: shape.shape,
    "shape_color": lambda shape: shape.name,
}
_CALLED: Mapping[str, Named] = {
    "color": lambda shape: f"{shape.colour} shape",
    "shape": lambda shape: shape.shape,
    "shape_color": lambda shape: shape.name,
}
_WHAT = {"color": "What color", "shape": "What shape", "shape_color": "What"}
_AT = {"left": "on the left", "right": "on the right", "top": "at the top",
       "bottom": "at the bottom"}  # fmt: skip


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


class TwoDS:
    """The questions of some settings; pictures are drawn when they are asked for.

    Attributes:
        name: the spec that opens it again.
        fingerprint: a hash of all recipes, questions, options and answers: the manifest's.
    """

    def __init__(self, settings: Settings, name: str = "2ds") -> None:
        self.name = name
        self.settings = settings
        self._asked: dict[str, tuple[Scene, Ask]] = {}
        found = []
        for number in range(settings.images):
            scene, asks = plan(settings, number)
            picture = scene.to_json()
            for ask in asks:
                question = pose(scene, ask, f"{number:05d}", settings, picture)
                self._asked[question.id] = scene, ask
                found.append(question)
        self._questions = check_questions(found, name)
        self.fingerprint = manifest(self._questions)[:32]

    def questions(self) -> Sequence[Question]:
        """Six questions a picture, in the order of CATEGORIES."""
        return self._questions

    def picture(self, question: Question) -> Image.Image:
        """Draw the recipe in the question."""
        return draw(Scene.from_json(question.picture))

    def swapped(self, question: Question) -> Question | None:
        """The same words about the same places, with two things' looks exchanged.

        The answer is that of the new picture, and always another one. X and Y of `is X left of Y`
        trade places; elsewhere the answer trades places with a third thing that is among the
        options. None where there is no such thing.
        """
        scene, ask = self._asked[question.id]
        other = ask.reference if ask.kind == "whether" else self._third(scene, ask, question)
        if other is None:
            return None
        if ask.kind == "whether":
            right = 1 - question.right
        else:
            value = _VALUE[ask.attribute](scene.shapes[other])
            right = question.options.index(value)
        changed = scene.exchanged(ask.subject, other)
        labels = tuple(shape.name for shape in _shown(changed, ask))
        return replace(question, picture=changed.to_json(), right=right, box_labels=labels)

    def extra_option(self, question: Question) -> str | None:
        """A value of the same kind that is neither among the options nor in the picture."""
        scene, ask = self._asked[question.id]
        if ask.kind == "whether":
            return "unsure"
        seen = {_VALUE[ask.attribute](shape) for shape in scene.shapes}
        left = sorted(set(_values(ask.attribute, self.settings)) - seen - set(question.options))
        return left[Draws(f"extra\0{question.id}").below(len(left))] if left else None

    def _third(self, scene: Scene, ask: Ask, question: Question) -> int | None:
        value = _VALUE[ask.attribute]
        for n in Draws(f"swap\0{self.settings.seed}\0{question.id}").shuffled(
            range(len(scene.shapes))
        ):
            other = value(scene.shapes[n])
            free = n not in (ask.subject, ask.reference) and other != question.answer
            if free and other in question.options:
                return n
        return None


def open(location: str, options: Mapping[str, str]) -> TwoDS:
    """Open 2DS. Options: `images`, `seed`, `variant` (see VARIANTS; `a+b` joins), `canvas`."""
    given = dict(options)
    variant = given.pop("variant", "standard")
    changes: dict[str, Any] = {}
    for part in variant.split("+"):
        if part not in VARIANTS:
            raise StimulusError(unknown_name("variant of 2ds", part, VARIANTS))
        changes |= VARIANTS[part]
    for name, least in (("images", 1), ("seed", 0), ("canvas", 224)):
        if name in given:
            changes[name] = whole_number("2ds", name, given.pop(name), least)
    refuse_unknown("2ds", given, ("images", "seed", "variant", "canvas"))
    if location:
        raise StimulusError(f"The benchmark '2ds:{location}' has a place. Expected 2ds.")
    settings = Settings(**changes)
    named = [f"{k}={v}" for k, v in sorted(options.items())]
    return TwoDS(settings, f"2ds#{','.join(named)}" if named else "2ds")


def manifest(questions: Sequence[Question]) -> str:
    """SHA-256 of questions with recipes, options and answers, in their order; hex."""
    total = hashlib.sha256()
    for q in questions:
        parts = (q.id, q.category, q.picture, q.text, *q.options, str(q.right))
        total.update("".join(f"{len(part)}:{part}" for part in parts).encode())
    return total.hexdigest()


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


def pose(scene: Scene, ask: Ask, image: str, settings: Settings, picture: str) -> Question:
    """Put what is asked into words, with its options and the right one."""
    value, called = _VALUE[ask.attribute], _CALLED[ask.attribute]
    subject = scene.shapes[ask.subject]
    reference = scene.shapes[ask.reference] if ask.reference >= 0 else None
    present: float
    if ask.kind == "whether":
        assert reference is not None
        stem = f"Is the {called(subject)} {ask.way} the {called(reference)}?"
        options: tuple[str, ...] = ("yes", "no")
        holds = relates(subject, reference, ask.way, settings.margin, settings.ratio)
        right, present = (0 if holds else 1), 0.5
    else:
        where = _AT[ask.way] if reference is None else f"{ask.way} the {called(reference)}"
        stem = f"{_WHAT[ask.attribute]} is {where}?"
        # What the question itself names is no answer, so it is no option.
        seen = {value(s) for s in scene.shapes if reference is None or s is not reference}
        named = set() if reference is None else {value(reference)}
        draws = Draws(f"options\0{settings.seed}\0{image}\0{ask.category}")
        others = draws.shuffled(sorted(seen - named - {value(subject)}))
        absent = draws.shuffled(sorted(set(_values(ask.attribute, settings)) - seen - named))
        options = tuple(draws.shuffled([value(subject), *others, *absent][:CHOICES]))
        right = options.index(value(subject))
        present = 1 / len(seen & set(options))
    shown = _shown(scene, ask)
    return Question(
        id=f"{image}-{ask.category}",
        picture=picture,
        cluster=image,
        stem=stem,
        text=f"{stem} {answer_with(options)}",
        options=options,
        right=right,
        category=ask.category,
        present=present,
        boxes=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in
                    (shape.box for shape in shown)),
        box_labels=tuple(shape.name for shape in shown),
    )  # fmt: skip


def _shown(scene: Scene, ask: Ask) -> list[Shape]:
    """The shapes in the places that a question is about."""
    return [scene.shapes[n] for n in (ask.subject, ask.reference) if n >= 0]


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
    names = [_VALUE[wanted.attribute](shape) for shape in shapes]
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


def _values(attribute: str, settings: Settings) -> list[str]:
    if attribute == "shape_color":
        return [f"{colour} {shape}" for colour in settings.colours for shape in settings.shapes]
    return list(settings.colours if attribute == "color" else settings.shapes)


def _key(settings: Settings) -> str:
    """All settings that decide one picture, as text."""
    return "\0".join(
        f"{field.name}={getattr(settings, field.name)}"
        for field in fields(settings)
        if field.name != "images"
    )


ABOUT = {
    "2ds": About(
        "Which coloured shape is at a side of the canvas, and which is left of, right of, above or "
        "below another?",
        "2ds",
        "drawn here",
        "that of this package",
        {
            "images": "number of pictures, six questions each (500)",
            "variant": f"{', '.join(VARIANTS)}; a+b joins two (standard)",
            "canvas": "side in pixels (336)",
            "seed": "of the pictures (0)",
        },
        "after Beyond Semantics, arXiv 2503.17349, whose generator was not released",
    )
}
