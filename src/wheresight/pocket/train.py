"""From nothing to a folder: the whole recipe, in order."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wheresight.pocket.recipe import Recipe

Report = Callable[[str, int, int, dict[str, float]], None]


def train(
    recipe: Recipe,
    out: Path,
    report: Report | None = None,
    evaluate: bool = True,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train, save, evaluate the saved folder, and write its card.

    Args:
        recipe: every number.
        out: the folder to write; replaced as a whole if it exists.
        report: called now and then with phase, step, steps and the means since the last call.
        evaluate: whether to measure the saved folder (some minutes on 2 cores).
        say: called with one line at the start of each part.

    Returns:
        What is written to ``training.json``: recipe, curves, wall times, versions, evaluation.
    """
    import torch

    from wheresight.pocket.emoji import load_things
    from wheresight.pocket.evaluate import evaluate_folder
    from wheresight.pocket.export import save_folder, write_records
    from wheresight.pocket.model import build_model, build_processor
    from wheresight.pocket.places import write_places
    from wheresight.pocket.tokenizer import train_tokenizer
    from wheresight.pocket.train_decoder import train_decoder
    from wheresight.pocket.train_tower import train_tower

    tell = say or (lambda text: None)
    quiet: Report = report or (lambda phase, step, steps, values: None)
    torch.set_num_threads(recipe.threads)
    started = time.monotonic()
    tell("pictures and tokenizer")
    things = load_things()
    tokenizer = train_tokenizer(things.names, recipe.vocabulary)
    model = build_model(recipe, tokenizer)
    processor = build_processor(recipe, tokenizer)
    tell("tower and projector")
    tower_curve = train_tower(model, tokenizer, things, recipe, quiet)
    place_error = write_places(model, things, recipe)
    tower_done = time.monotonic()
    tell("decoder, on frozen tower and projector")
    decoder_curve = train_decoder(model, tokenizer, things, recipe, quiet)
    done = time.monotonic()
    training: dict[str, Any] = {
        "recipe": recipe.to_dict(),
        "names": {"emoji": len(things.emoji), "all": len(things.names)},
        "parameters": parameter_counts(model),
        "seconds": {
            "tower": tower_done - started,
            "decoder": done - tower_done,
            "all": done - started,
        },
        "curves": {"tower": tower_curve, "decoder": decoder_curve},
        "place_error": place_error,
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    save_folder(model, processor, out, training)
    if evaluate:
        tell("evaluation of the saved folder")
        training["evaluation"] = evaluate_folder(out, progress=tell)
        write_records(out, training)
    return training


def parameter_counts(model: Any) -> dict[str, int]:
    """Parameters of each part."""
    parts = {
        "tower": model.model.vision_tower,
        "projector": model.model.multi_modal_projector,
        "decoder": model.model.language_model,
        "all": model,
    }
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def versions() -> dict[str, str]:
    """Versions that a rerun should have for the same numbers."""
    import numpy
    import PIL
    import tokenizers
    import torch
    import transformers

    import wheresight

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "wheresight": wheresight.__version__,
    }
