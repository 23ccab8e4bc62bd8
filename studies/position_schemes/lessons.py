"""What decoders are taught with, step by step: questions, and what the tower sees in the pictures.

All schemes of a seed are taught with the same, through the same frozen tower. So scenes are drawn
and seen once, kept in a file, and read by the schemes that come later. Only a scheme that takes
several blocks of the tower sees the pictures anew.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
import numpy as np
import world
from design import Cell, Design, lessons_name, mix_at, vision_blocks

from wheresight.pocket.curves import Report
from wheresight.pocket.language import Question

if TYPE_CHECKING:
    import torch

SEEN, ASKED = "seen.bin", "asked.jsonl"
_SCRATCH, _ADAPTED = 2, 3  # streams of scenes
_EVERY = 200


@dataclass(frozen=True)
class Lesson:
    """One step.

    Attributes:
        asked: for each of B pictures its questions.
        seen: (B, N, V) bfloat16, what the tower hands to the projector.
    """

    asked: list[list[Question]]
    seen: torch.Tensor


def lessons(model: Any, design: Design, cell: Cell, out: Path, report: Report) -> Iterator[Lesson]:
    """All steps of a cell; to be used in the block of its scheme, which decides what is seen.

    Args:
        model: any with the shared tower.
        design, cell: what is taught.
        out: the study's folder.
        report: is told how far drawing is, if nobody drew these before.
    """
    if vision_blocks(cell.spec):
        for shown, asked in drawn(design, cell):
            yield Lesson(asked, _seen(model, shown))
        return
    folder = out / "lessons" / lessons_name(design, cell, models.tower_revision())
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits, and reads
            if not folder.is_dir():
                _write(model, design, cell, folder, report)
    yield from _read(design, cell, folder)


def steps_of(design: Design, cell: Cell) -> int:
    """How many steps a cell is taught."""
    return design.training.lora_steps if cell.adapted else design.training.steps


def drawn(design: Design, cell: Cell) -> Iterator[tuple[list[world.Shown], list[list[Question]]]]:
    given, steps = design.training, steps_of(design, cell)
    rng = np.random.default_rng((cell.seed, _ADAPTED if cell.adapted else _SCRATCH))
    for number in range(steps):
        # Who is adapted knows the easy part already.
        mix = mix_at(1.0 if cell.adapted else number / steps)
        shown = [world.sample(rng, mix) for _ in range(given.batch)]
        yield shown, [world.ask(rng, one, mix, given.questions) for one in shown]


def _seen(model: Any, shown: list[world.Shown]) -> torch.Tensor:
    import torch

    # The projector's first layer would round to this all the same.
    with torch.autocast("cpu", torch.bfloat16):
        return models.seen(model, shown).to(torch.bfloat16)


def _write(model: Any, design: Design, cell: Cell, folder: Path, report: Report) -> None:
    import torch

    began, steps = time.monotonic(), steps_of(design, cell)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        with (draft / SEEN).open("wb") as seen, (draft / ASKED).open("w") as texts:
            for number, (shown, asked) in enumerate(drawn(design, cell), 1):
                seen.write(_seen(model, shown).view(torch.int16).numpy().tobytes())
                texts.write(json.dumps([[asdict(q) for q in row] for row in asked]) + "\n")
                if number % _EVERY == 0:
                    report(folder.name, number, steps, {"seconds": time.monotonic() - began})
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _read(design: Design, cell: Cell, folder: Path) -> Iterator[Lesson]:
    import torch

    patches = design.recipe(cell.seed).image_tokens
    steps, batch = steps_of(design, cell), design.training.batch
    kept = np.memmap(folder / SEEN, np.int16, "r").reshape(steps, batch, patches, -1)
    with (folder / ASKED).open() as texts:
        for number, line in enumerate(texts):
            asked = [[Question(**q) for q in row] for row in json.loads(line)]
            seen = torch.from_numpy(np.array(kept[number])).view(torch.bfloat16)
            yield Lesson(asked, seen)
