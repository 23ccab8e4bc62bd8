"""Measure a saved folder: matching on grids cell by cell, and every task on natural scenes.

Pictures and names are those of the training; the scenes are new (another seed). The grids are
those of the grid probe: nine 270 px tiles on a white 840 px canvas, through the folder's own
processor. Questions are scored as single turns (packed; see ``packing``), in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wheresight.errors import WheresightError
from wheresight.pocket.architectures import architecture_of
from wheresight.pocket.architectures.architecture import Architecture
from wheresight.pocket.emoji import Things, decode, load_things, read_rows
from wheresight.pocket.language import (
    PAPER,
    SHORT_MATCH,
    Question,
    Stage,
    ask,
    match_question,
)
from wheresight.pocket.model import image_features, pixel_tensor
from wheresight.pocket.packing import hidden_states, pack
from wheresight.pocket.scenes import Scene, sample_scene
from wheresight.pocket.shape_scenes import ask_of_shapes, sample_shape_scene

CANVAS, TILE = 840, 270
WORDINGS = {"short": SHORT_MATCH, "paper": PAPER}
TASKS = ("match", "naming", "at_cell", "where", "where_relative", "cell_match", "relation")
BARS = {
    "short balanced accuracy": 0.93,
    "short AUC": 0.98,
    "paper balanced accuracy": 0.93,
    "paper AUC": 0.98,
    "relation": 0.85,
    "at_cell": 0.85,
    "naming": 0.90,
}


@dataclass(frozen=True, slots=True)
class Pocket:
    """A loaded folder with all that its evaluation needs."""

    model: Any
    processor: Any
    things: Things
    size: tuple[int, int]  # picture side, patch side, px

    @property
    def tokenizer(self) -> Any:
        """The folder's tokenizer."""
        return self.processor.tokenizer

    @property
    def image_tokens(self) -> int:
        """Tokens of a picture."""
        side, patch = self.size
        return (side // patch) ** 2

    @property
    def kind(self) -> Architecture:
        """Its architecture."""
        return architecture_of(self.model)

    def seen(self, pixels: Any) -> Any:
        """(B, 3, S, S) -> (B, N, D) image tokens."""
        import torch

        with torch.inference_mode():
            return image_features(self.model, pixels)

    def looked_at(self, images: list[Image.Image]) -> Any:
        """(B, N, D) image tokens of pictures of any size, through the folder's own processor."""
        import torch

        given = self.processor.image_processor(images, return_tensors="pt")
        names = ("pixel_values", "image_grid_thw")
        with torch.inference_mode():
            output = self.model.model.get_image_features(
                **{name: given[name] for name in names if name in given}
            )
            return self.kind.stacked(output, len(images))


def load_pocket(folder: Path, things: Things | None = None) -> Pocket:
    """Load a folder with the stock Auto classes, for float32 on the CPU."""
    from transformers import AutoModelForImageTextToText

    from wheresight.lvlm.stills import load_processor

    for name in ("config.json", "training.json"):
        if not (folder / name).is_file():
            raise WheresightError(f"{folder} holds no pocket model: there is no {name}.")
    model = AutoModelForImageTextToText.from_pretrained(folder).float().eval()
    recipe = json.loads((folder / "training.json").read_text())["recipe"]
    size = (recipe["image_size"], recipe["patch_size"])
    return Pocket(model, load_processor(str(folder)), things or load_things(), size)


def answer(
    pocket: Pocket, features: Any, questions: list[list[Question]]
) -> list[list[tuple[float, bool]]]:
    """Score questions about pictures.

    Args:
        pocket: the model.
        features: (B, N, D) image tokens.
        questions: for each picture its questions.

    Returns:
        For each question the margin, logit(Yes) - logit(No) at the first answer place, and whether
        greedy decoding gives the whole answer, end of text included.
    """
    import torch

    tokenizer = pocket.tokenizer
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("Yes", "No"))
    packed = pack(questions, tokenizer, pocket.image_tokens, kind=pocket.kind)
    with torch.inference_mode():
        states = hidden_states(pocket.model, packed, features)
        answered = packed.labels >= 0
        logits = pocket.model.lm_head(states[answered]).float()
    wanted = packed.labels[answered]
    right = (logits.argmax(-1) == wanted).tolist()
    margins = (logits[:, yes] - logits[:, no]).tolist()
    ends = (wanted == tokenizer.eos_token_id).tolist()
    results: list[list[tuple[float, bool]]] = []
    place = 0
    for asked in questions:
        row = []
        for _ in asked:
            first, whole = place, True
            while True:
                whole = whole and right[place]
                place += 1
                if ends[place - 1]:
                    break
            row.append((margins[first], whole))
        results.append(row)
    return results


def auc(present: np.ndarray, absent: np.ndarray) -> float:
    """Chance that a present caption's margin is above an absent one's; ties count a half."""
    ordered = np.sort(absent)
    below = np.searchsorted(ordered, present, "left")
    upto = np.searchsorted(ordered, present, "right")
    return float((below + upto).mean() / 2 / len(absent))


def grid_image(pictures: list[Image.Image]) -> Image.Image:
    """Nine RGB pictures -> the grid probe's composite."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), "white")
    margin = (CANVAS // 3 - TILE) // 2
    for cell, picture in enumerate(pictures):
        tile = picture.resize((TILE, TILE), Image.Resampling.LANCZOS)
        canvas.paste(tile, (cell % 3 * 280 + margin, cell // 3 * 280 + margin))
    return canvas


def evaluate_grids(
    pocket: Pocket, grids: int, wording: str, seed: int = 7, absent_kind: str = "random"
) -> dict[str, Any]:
    """Matching on 3x3 grids: every tile's caption once, and as many absent captions.

    ``absent_kind``: ``random`` captions, or ``sibling`` (a look-alike of the tile).
    """
    rng = np.random.default_rng((seed, 4))
    rows = read_rows()
    pictures = []
    for row in rows:
        flat = Image.new("RGB", (64, 64), "white")
        flat.paste(decode(row), mask=decode(row).getchannel("A"))
        pictures.append(flat)
    emoji = pocket.things.emoji
    present: list[list[float]] = [[] for _ in range(9)]
    absent: list[list[float]] = [[] for _ in range(9)]
    for start in range(0, grids, 16):
        images, questions = [], []
        for _ in range(min(16, grids - start)):
            chosen = [int(i) for i in rng.choice(emoji, 9, replace=False)]
            style = int(rng.integers(2))
            images.append(
                grid_image([pictures[pocket.things.things[i].pictures[style]] for i in chosen])
            )
            asked = []
            for thing in chosen:
                others = [i for i in pocket.things.things[thing].siblings if i not in chosen]
                if absent_kind == "random" or not others:
                    others = [i for i in emoji if i not in chosen]
                names = pocket.things.names
                asked.append(match_question(names[thing], True, wording))
                asked.append(match_question(names[int(rng.choice(others))], False, wording))
            questions.append(asked)
        for row_of in answer(pocket, pocket.looked_at(images), questions):
            for cell in range(9):
                present[cell].append(row_of[2 * cell][0])
                absent[cell].append(row_of[2 * cell + 1][0])
    every = np.concatenate([np.array(a) for a in absent])
    hit = [float((np.array(p) > 0).mean()) for p in present]
    cell_auc = [auc(np.array(p), every) for p in present]
    false_alarm = float((every > 0).mean())
    means = [float(np.mean(p)) for p in present]
    return {
        "n": grids * 18,
        "n_per_cell": grids,
        "hit": hit,
        "false_alarm": false_alarm,
        "hit_mean": float(np.mean(hit)),
        "balanced_accuracy": float((np.mean(hit) + 1 - false_alarm) / 2),
        "auc": cell_auc,
        "auc_mean": float(np.mean(cell_auc)),
        "margin": means,
        "margin_spread": max(means) - min(means),
        "hit_spread": max(hit) - min(hit),
    }


def evaluate_tasks(
    pocket: Pocket, scenes: int, long_share: float, seed: int = 7
) -> dict[str, dict[str, float]]:
    """Every task on natural scenes of one to four things: share of whole answers right, and n."""
    rng = np.random.default_rng((seed, 5))
    stage = Stage(long_share, 0.15, 0.25, 0.25, 0.2, 0.1, 0.25)
    size, patch = pocket.size
    counts: dict[str, list[bool]] = {task: [] for task in TASKS}
    by_objects: dict[int, list[bool]] = {}
    for start in range(0, scenes, 16):
        batch: list[Scene] = [
            sample_scene(rng, pocket.things, 4, size, patch, grid_share=0.0)
            for _ in range(min(16, scenes - start))
        ]
        asked = [ask(rng, scene, pocket.things, 8, stage) for scene in batch]
        pixels = pixel_tensor(np.stack([scene.pixels for scene in batch]))
        for scene, questions, results in zip(
            batch, asked, answer(pocket, pocket.seen(pixels), asked), strict=True
        ):
            for question, (_, right) in zip(questions, results, strict=True):
                counts[question.task].append(right)
                if question.task == "at_cell":
                    by_objects.setdefault(len(scene.placed), []).append(right)
    table = {
        task: {"accuracy": float(np.mean(right)), "n": len(right)}
        for task, right in counts.items()
        if right
    }
    for objects, found in sorted(by_objects.items()):
        table[f"at_cell, {objects} things"] = {"accuracy": float(np.mean(found)), "n": len(found)}
    return table


def evaluate_shapes(pocket: Pocket, scenes: int, seed: int = 7) -> dict[str, dict[str, float]]:
    """Questions about pictures of shapes, by category: share of whole answers right, and n."""
    rng = np.random.default_rng((seed, 10))
    counts: dict[str, list[bool]] = {}
    for start in range(0, scenes, 16):
        shown = [sample_shape_scene(rng, *pocket.size) for _ in range(min(16, scenes - start))]
        asked = [ask_of_shapes(rng, picture, 8) for picture in shown]
        pixels = pixel_tensor(np.stack([picture.pixels for picture in shown]))
        found = answer(pocket, pocket.seen(pixels), asked)
        for questions, results in zip(asked, found, strict=True):
            for question, (_, right) in zip(questions, results, strict=True):
                counts.setdefault(question.task, []).append(right)
    return {
        task: {"accuracy": float(np.mean(right)), "n": len(right)}
        for task, right in sorted(counts.items())
    }


def evaluate_folder(
    folder: Path,
    grids: int = 300,
    scenes: int = 600,
    seed: int = 7,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """All measurements of a saved folder, as plain JSON values."""
    say = progress or (lambda text: None)
    pocket = load_pocket(folder)
    result: dict[str, Any] = {"grid": {}, "tasks": {}, "seed": seed}
    for name, wording in WORDINGS.items():
        say(f"grids, {name} question")
        result["grid"][name] = evaluate_grids(pocket, grids, wording, seed)
    say("grids, look-alikes as absent captions")
    result["grid"]["paper, look-alikes"] = evaluate_grids(
        pocket, max(1, grids // 3), PAPER, seed, "sibling"
    )
    for name, share in (("short", 0.0), ("long", 1.0)):
        say(f"tasks, {name} wordings")
        result["tasks"][name] = evaluate_tasks(pocket, scenes, share, seed)
    say("shapes")
    result["shapes"] = evaluate_shapes(pocket, scenes, seed)
    result["bars"] = bars(result)
    return result


def bars(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Each bar with what was measured; task bars take the worse of short and long wordings."""
    measured = {}
    for name in WORDINGS:
        measured[f"{name} balanced accuracy"] = result["grid"][name]["balanced_accuracy"]
        measured[f"{name} AUC"] = result["grid"][name]["auc_mean"]
    for task in ("relation", "at_cell", "naming"):
        values = [table[task]["accuracy"] for table in result["tasks"].values() if task in table]
        measured[task] = min(values) if values else 0.0
    return {
        name: {"bar": bar, "measured": measured[name], "met": float(measured[name] >= bar)}
        for name, bar in BARS.items()
    }
