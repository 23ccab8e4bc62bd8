"""2DS: where are coloured shapes on a plain canvas, seen alone and seen from each other?

After "Beyond Semantics" (arXiv 2503.17349): 500 pictures of 2 to 6 coloured shapes, 3,000
questions, six categories of 500. The published generator was never released; canvas, palette,
sizes, margins, wordings and the balance of answers are ours, so the numbers are not those of the
paper's table. A quarter of the relative questions has the answer Yes, a quarter No, and half ask
which thing it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli.benchmarks.about import About
from wheresight.stimuli.benchmarks.draws import Draws
from wheresight.stimuli.benchmarks.options import refuse_unknown, whole_number
from wheresight.stimuli.benchmarks.question import Question, answer_with, check_questions
from wheresight.stimuli.benchmarks.relations import relates
from wheresight.stimuli.benchmarks.shapes import Scene, Shape, draw
from wheresight.stimuli.benchmarks.twods_scenes import (
    VALUE,
    VARIANTS,
    Ask,
    Named,
    Settings,
    plan,
)

CHOICES = 4

_CALLED: Mapping[str, Named] = {
    "color": lambda shape: f"{shape.colour} shape",
    "shape": lambda shape: shape.shape,
    "shape_color": lambda shape: shape.name,
}
_WHAT = {"color": "What color", "shape": "What shape", "shape_color": "What"}
_AT = {"left": "on the left", "right": "on the right", "top": "at the top",
       "bottom": "at the bottom"}  # fmt: skip


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
            value = VALUE[ask.attribute](scene.shapes[other])
            right = question.options.index(value)
        changed = scene.exchanged(ask.subject, other)
        labels = tuple(shape.name for shape in _shown(changed, ask))
        return replace(question, picture=changed.to_json(), right=right, box_labels=labels)

    def extra_option(self, question: Question) -> str | None:
        """A value of the same kind that is neither among the options nor in the picture."""
        scene, ask = self._asked[question.id]
        if ask.kind == "whether":
            return "unsure"
        seen = {VALUE[ask.attribute](shape) for shape in scene.shapes}
        left = sorted(set(_values(ask.attribute, self.settings)) - seen - set(question.options))
        return left[Draws(f"extra\0{question.id}").below(len(left))] if left else None

    def _third(self, scene: Scene, ask: Ask, question: Question) -> int | None:
        value = VALUE[ask.attribute]
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


def pose(scene: Scene, ask: Ask, image: str, settings: Settings, picture: str) -> Question:
    """Put what is asked into words, with its options and the right one."""
    value, called = VALUE[ask.attribute], _CALLED[ask.attribute]
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


def _values(attribute: str, settings: Settings) -> list[str]:
    if attribute == "shape_color":
        return [f"{colour} {shape}" for colour in settings.colours for shape in settings.shapes]
    return list(settings.colours if attribute == "color" else settings.shapes)


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
