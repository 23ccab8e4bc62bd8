"""Pocket scenes as conversations in the form of LLaVA's instruction-tuning data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from wheresight.errors import RunError
from wheresight.pocket.emoji import Things, load_things
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.train_shapes import asked_scene

DATA, IMAGES = "conversations.json", "images"


def write_conversations(
    out: Path,
    samples: int,
    *,
    seed: int = 0,
    turns: int = 4,
    recipe: Recipe | None = None,
    things: Things | None = None,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Write scenes as PNG, and questions about each with their answers.

    Scene i hangs on the seed and on i alone, so a longer file begins like a shorter one. Scenes
    and questions are of the kind that the decoder's training ends with (half of them shapes); the
    seed keeps them apart from those that it saw.

    Args:
        out: an empty or new folder; conversations.json, which is written last, and images/.
        samples: how many scenes.
        seed: of all of them.
        turns: most questions about one scene; there are 1 to so many.
        recipe: of scenes and wordings; default is that of the shipped weights.
        things: what `load_things` returned, if it is at hand.
        advance: called with 1 after each scene.

    Returns:
        The path of the JSON file.

    Raises:
        RunError: numbers below 1, or a folder that is not empty.
    """
    for name, value in (("samples", samples), ("turns", turns)):
        if value < 1:
            raise RunError(f"--{name} was given as {value}; expected 1 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"The output {str(out)!r} is not an empty folder. Choose another --out.")
    (out / IMAGES).mkdir(parents=True)
    recipe, things = recipe or Recipe(), things or load_things()
    rows = []
    for number in range(samples):
        pixels, talk = _scene(np.random.default_rng((seed, number)), things, recipe, turns)
        name = f"{number:06}.png"
        Image.fromarray(pixels).save(out / IMAGES / name)
        rows.append({"id": f"{number:06}", "image": name, "conversations": talk})
        if advance is not None:
            advance(1)
    path = out / DATA
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def _scene(
    rng: np.random.Generator, things: Things, recipe: Recipe, turns: int
) -> tuple[np.ndarray, list[dict[str, str]]]:
    pixels, questions = asked_scene(rng, things, recipe, int(rng.integers(1, turns + 1)))
    different = {question.text: question for question in questions}
    talk = []
    for place, question in enumerate(different.values()):
        asked = question.text if place else f"<image>\n{question.text}"
        talk += [{"from": "human", "value": asked}, {"from": "gpt", "value": question.answer}]
    return pixels, talk
