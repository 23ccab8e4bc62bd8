"""What is asked about a scene, in which words, and what the right answer is.

Names stand in the questions as they are, always after a space, so that a name is always the same
pieces. An answer is ``Yes``, ``No``, a name after ``the``, a cell, or ``nothing``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wheresight.pocket.emoji import Things
from wheresight.pocket.scenes import CELLS, Placed, Scene, cell_of
from wheresight.stimuli.benchmarks.question import answer_with

# The question of the BaPA paper, word for word.
PAPER = (
    "Determine if there is a sub-image in the given image that matches the text following.\n"
    "Text: {caption}\n"
    "The answer should only contain 'Yes' or 'No', without reasoning process.\n"
)
SHORT_MATCH = "is {caption}"
MATCHES = (
    SHORT_MATCH,
    "Is there {caption}?",
    "Do you see {caption}?",
    "Does the image show {caption}?",
    "Is {caption} in the picture? Answer Yes or No.",
    PAPER,
)
NAMINGS = ("what", "What is this?", "What is in the picture?", "Name the object.")
AT_CELLS = ("what {cell}", "What is at the {cell}?", "Which object is at the {cell}?")
WHERES = ("where {caption}", "Where is {caption}?")
CELL_MATCHES = ("is {caption} at {cell}", "Is {caption} at the {cell}?")
RELATIONS = ("left of", "right of", "above", "below")
RELATION_MATCHES = ("is {a} {relation} {b}", "Is {a} {relation} {b}?")
WHERE_RELATIVE = ("where {a} to {b}", "Where is {a}, seen from {b}?")
IN_RELATION = "Where is the {a} in relation to the {b}?"  # AdaptVis (arXiv 2503.01773)
SIDES_OF = {"left of": "left", "right of": "right", "above": "above", "below": "below"}
CLEAR = 12.0  # px between centres for a relation to be asked about


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a scene with its answer; ``task`` says which kind it is."""

    text: str
    answer: str
    task: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What may be asked now: whether long wordings are in use, and how the tasks are weighted."""

    long_share: float
    match: float = 0.40
    naming: float = 0.06
    at_cell: float = 0.20
    where: float = 0.14
    cell_match: float = 0.06
    relation: float = 0.14
    relative: float = 0.5  # share of "where" that asks for the side of another thing


def phrase(rng: np.random.Generator, wordings: tuple[str, ...], long_share: float) -> str:
    """The first wording is the short one; a longer one comes with chance ``long_share``.

    The last wording of ``MATCHES`` is the paper's; it gets 40 % of the longer ones.
    """
    if len(wordings) == 1 or rng.random() >= long_share:
        return wordings[0]
    if wordings is MATCHES and rng.random() < 0.4:
        return PAPER
    rest = wordings[1:-1] if wordings is MATCHES else wordings[1:]
    return rest[int(rng.integers(len(rest)))]


def ask(
    rng: np.random.Generator, scene: Scene, things: Things, count: int, stage: Stage
) -> list[Question]:
    """``count`` questions about one scene; kinds that the scene does not allow become matching."""
    kinds = ("match", "naming", "at_cell", "where", "cell_match", "relation")
    weights = np.array([getattr(stage, kind) for kind in kinds])
    drawn = rng.choice(len(kinds), count, p=weights / weights.sum())
    builders = {
        "naming": _naming,
        "at_cell": _at_cell,
        "where": _where,
        "cell_match": _cell_match,
        "relation": _relation,
    }
    questions = []
    for index in drawn:
        kind = kinds[int(index)]
        question = None
        if kind in builders:
            question = builders[kind](rng, scene, things, stage)
        questions.append(question or _match(rng, scene, things, stage))
    return questions


def ask_with_options(rng: np.random.Generator, scene: Scene, things: Things) -> Question | None:
    """Where a thing is, with the list of answers to choose from; None if that is not clear.

    Cells are listed in reading order or in any; sides are asked for in AdaptVis's words, too.
    """
    if len(scene.placed) < 2 or rng.random() < 0.5:
        found = _where(rng, scene, things, Stage(1.0, relative=0.0))
        options = list(CELLS)
    else:
        found = _where_relative(rng, scene, things, Stage(0.5), (WHERE_RELATIVE[1], IN_RELATION))
        options = list(SIDES_OF.values())
    if found is None:
        return None
    if rng.random() < 0.3:
        rng.shuffle(options)
    return replace(found, text=f"{found.text} {answer_with(options)}")


def match_question(caption: str, present: bool, wording: str = SHORT_MATCH) -> Question:
    """Is the caption in the picture?"""
    return Question(wording.format(caption=caption), "Yes" if present else "No", "match")


def relation_holds(a: Placed, b: Placed, relation: str) -> bool | None:
    """Whether ``a relation b`` is true; None if the centres are less than 12 px apart that way."""
    (ax, ay), (bx, by) = a.centre, b.centre
    gap = {"left of": bx - ax, "right of": ax - bx, "above": by - ay, "below": ay - by}[relation]
    return None if abs(gap) < CLEAR else gap > 0


def absent_thing(rng: np.random.Generator, scene: Scene, things: Things) -> int:
    """A thing that is not in the scene: any (60 %), or a look-alike of one that is (40 %)."""
    present = {item.thing for item in scene.placed}
    if rng.random() < 0.4:
        near = things.things[_any(rng, scene).thing].siblings
        near = tuple(index for index in near if index not in present)
        if near:
            return int(near[int(rng.integers(len(near)))])
    while True:
        index = int(rng.integers(len(things.things)))
        if index not in present:
            return index


def _any(rng: np.random.Generator, scene: Scene) -> Placed:
    return scene.placed[int(rng.integers(len(scene.placed)))]


def _match(rng: np.random.Generator, scene: Scene, things: Things, stage: Stage) -> Question:
    present = bool(rng.random() < 0.5)
    index = _any(rng, scene).thing if present else absent_thing(rng, scene, things)
    return match_question(
        things.things[index].name, present, phrase(rng, MATCHES, stage.long_share)
    )


def _naming(
    rng: np.random.Generator, scene: Scene, things: Things, stage: Stage
) -> Question | None:
    if len(scene.placed) != 1:
        return None
    name = things.things[scene.placed[0].thing].name
    return Question(phrase(rng, NAMINGS, stage.long_share), f"the {name}", "naming")


def cells_of(scene: Scene) -> dict[int, int]:
    """Cells that can be asked about without doubt: cell -> thing index."""
    size = scene.pixels.shape[0]
    found: dict[int, int] = {}
    counts: dict[int, int] = {}
    for item in scene.placed:
        loose = cell_of(item, size, margin=0.0)
        if loose is None:
            continue
        counts[loose] = counts.get(loose, 0) + 1
        cell = cell_of(item, size)
        if cell is not None:
            found[cell] = item.thing
    return {cell: thing for cell, thing in found.items() if counts[cell] == 1}


def free_cells(scene: Scene) -> list[int]:
    """Cells that no object's square touches by more than a quarter of the cell."""
    size = scene.pixels.shape[0]
    third = size / 3
    free = []
    for cell in range(9):
        x0, y0 = cell % 3 * third, cell // 3 * third
        area = sum(
            max(0.0, min(x0 + third, p.left + p.side) - max(x0, p.left))
            * max(0.0, min(y0 + third, p.top + p.side) - max(y0, p.top))
            for p in scene.placed
        )
        if area < 0.05 * third * third:
            free.append(cell)
    return free


def _at_cell(
    rng: np.random.Generator, scene: Scene, things: Things, stage: Stage
) -> Question | None:
    wording = phrase(rng, AT_CELLS, stage.long_share)
    if rng.random() < 0.15:
        free = free_cells(scene)
        if free:
            cell = free[int(rng.integers(len(free)))]
            return Question(wording.format(cell=CELLS[cell]), "nothing", "at_cell")
    cells = list(cells_of(scene).items())
    if not cells:
        return None
    cell, thing = cells[int(rng.integers(len(cells)))]
    text = wording.format(cell=CELLS[cell])
    return Question(text, f"the {things.things[thing].name}", "at_cell")


def _where(rng: np.random.Generator, scene: Scene, things: Things, stage: Stage) -> Question | None:
    if len(scene.placed) > 1 and rng.random() < stage.relative:
        return _where_relative(rng, scene, things, stage)
    item = _any(rng, scene)
    cell = cell_of(item, scene.pixels.shape[0])
    if cell is None:
        return None
    text = phrase(rng, WHERES, stage.long_share).format(caption=things.things[item.thing].name)
    return Question(text, CELLS[cell], "where")


def _where_relative(
    rng: np.random.Generator,
    scene: Scene,
    things: Things,
    stage: Stage,
    wordings: tuple[str, ...] = WHERE_RELATIVE,
) -> Question | None:
    """The side that is clearest; asked only where one direction is clearly the longer one."""
    first, second = (scene.placed[int(i)] for i in rng.choice(len(scene.placed), 2, False))
    dx = first.centre[0] - second.centre[0]
    dy = first.centre[1] - second.centre[1]
    if max(abs(dx), abs(dy)) < CLEAR or abs(abs(dx) - abs(dy)) < CLEAR / 2:
        return None
    if abs(dx) > abs(dy):
        answer = "left" if dx < 0 else "right"
    else:
        answer = "above" if dy < 0 else "below"
    text = phrase(rng, wordings, stage.long_share).format(
        a=things.things[first.thing].name, b=things.things[second.thing].name
    )
    return Question(text, answer, "where_relative")


def _cell_match(
    rng: np.random.Generator, scene: Scene, things: Things, stage: Stage
) -> Question | None:
    item = _any(rng, scene)
    cell = cell_of(item, scene.pixels.shape[0])
    if cell is None:
        return None
    true = bool(rng.random() < 0.5)
    asked = cell if true else int(rng.choice([c for c in range(9) if c != cell]))
    text = phrase(rng, CELL_MATCHES, stage.long_share).format(
        caption=things.things[item.thing].name, cell=CELLS[asked]
    )
    return Question(text, "Yes" if true else "No", "cell_match")


def _relation(
    rng: np.random.Generator, scene: Scene, things: Things, stage: Stage
) -> Question | None:
    if len(scene.placed) < 2:
        return None
    first, second = (scene.placed[int(i)] for i in rng.choice(len(scene.placed), 2, False))
    relation = RELATIONS[int(rng.integers(4))]
    holds = relation_holds(first, second, relation)
    if holds is None:
        return None
    text = phrase(rng, RELATION_MATCHES, stage.long_share).format(
        a=things.things[first.thing].name, relation=relation, b=things.things[second.thing].name
    )
    return Question(text, "Yes" if holds else "No", "relation")
