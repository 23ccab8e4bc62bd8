"""Pictures of a few coloured shapes with what is asked of them: the third part of the training.

They are such as the benchmark 2DS draws, in all its colours and shapes and more sizes, with its
wordings; but placed by another stream of random numbers, and with no demand that six questions
can be asked of each. None of the benchmark's own pictures is among them, whatever its seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wheresight.pocket.language import MATCHES, Question, match_question, phrase
from wheresight.pocket.scenes import ABSENT, IGNORE
from wheresight.stimuli.benchmarks.question import lettered
from wheresight.stimuli.benchmarks.relations import (
    OPPOSITE,
    RELATIONS,
    SIDES,
    extreme,
    only_one,
    relates,
)
from wheresight.stimuli.benchmarks.shapes import COLOURS, SHAPES, Scene, Shape, draw
from wheresight.stimuli.benchmarks.twods import pose
from wheresight.stimuli.benchmarks.twods_scenes import ATTRIBUTES, Ask, Settings

CANVAS = 336
# Less strict than the benchmark: what is nearly even is asked, too.
SETTINGS = Settings(
    canvas=CANVAS, margin=28, ratio=1.3, gap=5, colours=tuple(COLOURS), shapes=SHAPES
)
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)


@dataclass(frozen=True, slots=True)
class ShapeScene:
    """A picture of shapes, (S, S, 3) uint8, and what is under every patch.

    ``patches`` is (S / p, S / p) int: an index into NAMES, ``ABSENT``, or ``IGNORE``.
    """

    pixels: np.ndarray
    scene: Scene
    patches: np.ndarray


def sample_shape_scene(rng: np.random.Generator, size: int = 96, patch: int = 16) -> ShapeScene:
    """Two to six shapes that do not touch, on white or (one in five) on soft noise."""
    count = int(rng.integers(2, 7))
    placed: list[Shape] = []
    while len(placed) < count:
        placed = []
        largest = {2: 110, 3: 100, 4: 84}.get(count, 74)
        for _ in range(20 * count):
            side = int(rng.integers(44, largest + 1))
            half = side // 2 + 4
            x, y = (int(v) for v in rng.integers(half, CANVAS - half, 2))
            shape = Shape("", "", x, y, side)
            if all(shape.apart(other, SETTINGS.gap) for other in placed):
                placed.append(shape)
            if len(placed) == count:
                break
    looks = rng.choice(len(NAMES), count, replace=False)
    shapes = []
    for shape, look in zip(placed, looks, strict=True):
        colour, form = NAMES[int(look)].split()
        shapes.append(replace(shape, colour=colour, shape=form))
    texture = str(rng.integers(1 << 40)) if rng.random() < 0.2 else None
    scene = Scene(tuple(shapes), CANVAS, texture=texture)
    small = draw(scene).resize((size, size), resample=3)  # bicubic, as the processor does
    return ShapeScene(np.asarray(small), scene, under(shapes, looks, size // patch))


def under(shapes: Sequence[Shape], looks: np.ndarray, grid: int) -> np.ndarray:
    """What each of grid x grid patches shows, (grid, grid) int64.

    One of ``looks`` where its shape covers a quarter of the patch and twice any other's share, else
    IGNORE, or ABSENT where there is nothing.
    """
    edges = np.arange(grid + 1) * (CANVAS / grid)
    cover = np.zeros((len(shapes) + 1, grid, grid))  # the last is nobody's
    for n, shape in enumerate(shapes):
        left, top, right, bottom = shape.box
        across = np.clip(np.minimum(edges[1:], right) - np.maximum(edges[:-1], left), 0, None)
        down = np.clip(np.minimum(edges[1:], bottom) - np.maximum(edges[:-1], top), 0, None)
        cover[n] = np.outer(down, across) / (CANVAS / grid) ** 2
    order = np.sort(cover, axis=0)
    clear = (order[-1] >= 0.25) & (order[-1] >= 2 * order[-2])
    found = np.where(order[-1] > 0.03, IGNORE, ABSENT)
    return np.where(clear, np.append(looks, ABSENT)[cover.argmax(0)], found).astype(np.int64)


def ask_of_shapes(rng: np.random.Generator, shown: ShapeScene, count: int) -> list[Question]:
    """``count`` questions: most in the benchmark's words, some in those of the other scenes."""
    questions: list[Question] = []
    while len(questions) < count:
        found = _matched(rng, shown) if rng.random() < 0.06 else _asked(rng, shown.scene)
        if found is not None:
            questions.append(found)
    return questions


def _matched(rng: np.random.Generator, shown: ShapeScene) -> Question:
    there = [shape.name for shape in shown.scene.shapes]
    present = bool(rng.random() < 0.5)
    name = str(rng.choice(there))
    while not present and name in there:
        name = NAMES[int(rng.integers(len(NAMES)))]
    return match_question(name, present, phrase(rng, MATCHES, 0.6))


def _asked(rng: np.random.Generator, scene: Scene) -> Question | None:
    kind = ("side", "which", "whether")[int(rng.choice(3, p=(0.22, 0.42, 0.36)))]
    attribute = ATTRIBUTES[int(rng.integers(3))]
    ask = drawn_ask(rng, scene.shapes, kind, attribute)
    if ask is None:
        return None
    # The options' order is drawn from this text.
    posed = pose(scene, ask, str(rng.integers(1 << 40)), SETTINGS, "")
    answer = posed.answer
    way = rng.random()
    if way < 0.4:
        text = posed.stem
    elif way < 0.9 or kind == "whether":
        text = posed.text
    else:
        text, answer = lettered(posed).text, posed.letters[posed.right]
    if kind == "whether":
        answer = answer.capitalize()  # Yes and No have a piece each
    return Question(text, answer, ask.category)


def drawn_ask(
    rng: np.random.Generator,
    shapes: Sequence[Shape],
    kind: str,
    attribute: str,
    settings: Settings = SETTINGS,
) -> Ask | None:
    """A question of this kind; None if the one that was drawn cannot be asked."""
    margin, ratio = settings.margin, settings.ratio
    if kind == "side":
        side = SIDES[int(rng.integers(4))]
        subject = extreme(shapes, side, margin)
        return None if subject is None else Ask(kind, attribute, side, subject)
    names = [
        {"color": shape.colour, "shape": shape.shape, "shape_color": shape.name}[attribute]
        for shape in shapes
    ]
    clear = [n for n, name in enumerate(names) if names.count(name) == 1]
    way = RELATIONS[int(rng.integers(4))]
    if not clear:
        return None
    reference = int(rng.choice(clear))
    if kind == "which":
        subject = only_one(shapes, reference, way, margin, ratio)
        return None if subject is None else Ask(kind, attribute, way, subject, reference)
    subject = int(rng.choice(clear))
    holds = bool(rng.random() < 0.5)
    if subject == reference or not relates(
        shapes[subject], shapes[reference], way if holds else OPPOSITE[way], margin, ratio
    ):
        return None
    return Ask(kind, attribute, way, subject, reference)
