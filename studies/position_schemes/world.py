"""What the models of this study see and are asked: 32 coloured shapes, and where they are.

Pictures are drawn as those of the benchmark 2DS (`variant=small_models`), scattered or in grids as
those of the grid probe; every place is as likely as any other. Questions are short ones: is a thing
there, in which cell is it, and those of 2DS without their lists of options.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wheresight.pocket.language import Question
from wheresight.pocket.scenes import CELLS
from wheresight.pocket.shape_scenes import drawn_ask, under
from wheresight.probes.questions import QUESTIONS
from wheresight.stimuli.benchmarks.shapes import Scene, Shape, draw
from wheresight.stimuli.benchmarks.twods import pose
from wheresight.stimuli.benchmarks.twods_scenes import ATTRIBUTES, VARIANTS, Settings

CANVAS = 336
_SMALL = VARIANTS["small_models"]
COLOURS: tuple[str, ...] = _SMALL["colours"]
SHAPES: tuple[str, ...] = _SMALL["shapes"]
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
# Less strict than the benchmark: what is nearly even is asked, too.
SETTINGS = Settings(canvas=CANVAS, margin=28, ratio=1.3, colours=COLOURS, shapes=SHAPES)
KINDS = ("match", "where", "side", "which", "whether")  # of questions
MATCH = QUESTIONS["short"]
WHERE = "Where is {caption}?"  # of the benchmark `localisation`
CLEAR = 10  # pixels between a centre and the border of a cell, or its cell is not asked for


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, (S, S, 3) uint8, what is in it, and the index into NAMES under every patch.

    ``patches`` is (S / p, S / p) int64: ABSENT for background, IGNORE where it is not clear.
    """

    pixels: np.ndarray
    shapes: tuple[Shape, ...]
    patches: np.ndarray


@dataclass(frozen=True, slots=True)
class Mix:
    """How questions are drawn: weights of the kinds, and what scenes they are about.

    Attributes:
        match, where, side, which, whether: weights.
        least, most: things in a scattered scene.
        grids: share of scenes that are grids of up to 3 x 3 things.
    """

    match: float
    where: float
    side: float
    which: float
    whether: float
    most: int
    grids: float
    least: int = 1


def sample(rng: np.random.Generator, mix: Mix, size: int = 96, patch: int = 16) -> Shown:
    """A scene of things that do not touch, in any places."""
    placed = _grid(rng) if rng.random() < mix.grids else _scattered(rng, mix)
    looks = rng.choice(len(NAMES), len(placed), replace=False)
    if len(placed) > 1 and rng.random() < 0.3:  # now and then two look-alikes together
        alike = [n for n in siblings(int(looks[0])) if n not in looks]
        looks[1] = int(rng.choice(alike))
    shapes = tuple(
        replace(shape, colour=NAMES[look].split()[0], shape=NAMES[look].split()[1])
        for shape, look in zip(placed, looks, strict=True)
    )
    picture = draw(Scene(shapes, CANVAS)).resize((size, size), resample=3)  # bicubic
    return Shown(np.asarray(picture), shapes, under(shapes, looks, size // patch))


def siblings(name: int) -> list[int]:
    """Names that share the colour or the shape of one, but not both."""
    colour, shape = divmod(name, len(SHAPES))
    return [
        other
        for other in range(len(NAMES))
        if (other // len(SHAPES) == colour) != (other % len(SHAPES) == shape)
    ]


def look_alikes(name: int) -> list[int]:
    """Names of the same shape in the colours before and after: few, so that a grid of nine things
    always leaves some that are no look-alike of any."""
    colour, shape = divmod(name, len(SHAPES))
    return [(colour + by) % len(COLOURS) * len(SHAPES) + shape for by in (-1, 1)]


def ask(rng: np.random.Generator, shown: Shown, mix: Mix, count: int) -> list[Question]:
    """``count`` questions about one picture.

    A kind that the picture does not allow is drawn again; after twenty, it is matching.
    """
    weights = np.array([getattr(mix, kind) for kind in KINDS])
    found: list[Question] = []
    for _ in range(count):
        question: Question | None = None
        for index in rng.choice(len(KINDS), 20, p=weights / weights.sum()):
            kind = KINDS[int(index)]
            if kind == "match":
                question = _match(rng, shown)
            elif kind == "where":
                question = _where(rng, shown)
            else:
                question = _relative(rng, shown.shapes, kind)
            if question is not None:
                break
        found.append(question or _match(rng, shown))
    return found


def write_pairs(path: Path, side: int = 96) -> None:
    """The 32 things as a source of image-caption pairs for the grid probe: Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for number, name in enumerate(NAMES):
        colour, shape = name.split()
        picture = draw(Scene((Shape(shape, colour, side // 2, side // 2, side - 12),), side))
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        rows.append(
            {
                "id": name.replace(" ", "-"),
                "caption": name,
                "image": {"bytes": stream.getvalue(), "path": None},
                "siblings": [NAMES[other].replace(" ", "-") for other in look_alikes(number)],
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), path)


def _scattered(rng: np.random.Generator, mix: Mix) -> list[Shape]:
    count = int(rng.integers(mix.least, mix.most + 1))
    largest = {1: 120, 2: 110, 3: 100}.get(count, 90)
    while True:
        placed: list[Shape] = []
        for _ in range(20 * count):
            side = int(rng.integers(66, largest + 1))
            half = side // 2 + 2
            x, y = (int(v) for v in rng.integers(half, CANVAS - half, 2))
            shape = Shape("", "", x, y, side)
            if all(shape.apart(other, SETTINGS.gap) for other in placed):
                placed.append(shape)
            if len(placed) == count:
                return placed


def _grid(rng: np.random.Generator) -> list[Shape]:
    """A grid of 3 x 3 cells, all of them full or some, things of one size."""
    count = 9 if rng.random() < 0.5 else int(rng.integers(2, 9))
    cells = rng.choice(9, count, replace=False)
    side = int(rng.integers(72, 104))
    pitch = CANVAS // 3
    return [
        Shape("", "", int(cell) % 3 * pitch + pitch // 2, int(cell) // 3 * pitch + pitch // 2, side)
        for cell in cells
    ]


def _match(rng: np.random.Generator, shown: Shown) -> Question:
    there = [NAMES.index(shape.name) for shape in shown.shapes]
    present = bool(rng.random() < 0.5)
    near = [n for n in siblings(int(rng.choice(there))) if n not in there]
    if present:
        name = int(rng.choice(there))
    elif near and rng.random() < 0.3:
        name = int(rng.choice(near))
    else:
        name = int(rng.choice([n for n in range(len(NAMES)) if n not in there]))
    text = MATCH.format(caption=NAMES[name])
    return Question(text, "Yes" if present else "No", "match")


def _where(rng: np.random.Generator, shown: Shown) -> Question | None:
    shape = shown.shapes[int(rng.integers(len(shown.shapes)))]
    third = CANVAS / 3
    if any(abs(v - border) < CLEAR for v in (shape.x, shape.y) for border in (third, 2 * third)):
        return None
    cell = int(shape.y // third) * 3 + int(shape.x // third)
    return Question(WHERE.format(caption=shape.name), CELLS[cell], "where")


def _relative(rng: np.random.Generator, shapes: tuple[Shape, ...], kind: str) -> Question | None:
    """A question of 2DS in its words; None if the one that was drawn cannot be asked."""
    if len(shapes) < 2:
        return None
    attribute = ATTRIBUTES[int(rng.integers(3))]
    ask = drawn_ask(rng, shapes, kind, attribute, SETTINGS)
    if ask is None:
        return None
    posed = pose(Scene(shapes, CANVAS), ask, "", SETTINGS, "")
    answer = posed.answer.capitalize() if kind == "whether" else posed.answer
    return Question(posed.stem, answer, kind)
