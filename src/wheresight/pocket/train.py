"""From nothing to a folder: the whole recipe, in order."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wheresight.errors import WheresightError
from wheresight.pocket.architectures import architecture, architecture_of
from wheresight.pocket.curves import Report
from wheresight.pocket.emoji import Things
from wheresight.pocket.recipe import Recipe, shape_phases


def train(
    recipe: Recipe,
    out: Path,
    report: Report | None = None,
    evaluate: bool = True,
    say: Callable[[str], None] | None = None,
    start: Path | None = None,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Train, save, evaluate the saved folder, and write its card.

    The weights are rounded to half precision before each round of the last part, as they are in a
    folder; so a run that starts from a folder goes on as the one that wrote it would have.

    Args:
        recipe: every number.
        out: the folder to write; replaced as a whole if it exists.
        report: called now and then with phase, step, steps and the means since the last call.
        evaluate: whether to measure the saved folder (some minutes on 2 cores).
        say: called with one line at the start of each part.
        start: a folder of this package, with the first two parts or some rounds of the last, to
            go on from.
        keep: a folder to write after the first two parts, for a later run to start from.

    Returns:
        What is written to ``training.json``: recipe, curves, wall times, versions, evaluation.
    """
    import torch

    from wheresight.pocket.emoji import load_things
    from wheresight.pocket.evaluate import evaluate_folder
    from wheresight.pocket.export import save_folder, write_records
    from wheresight.pocket.train_shapes import train_on_shapes

    tell = say or (lambda text: None)
    quiet: Report = report or (lambda phase, step, steps, values: None)
    torch.set_num_threads(recipe.threads)
    tell("pictures and tokenizer")
    things = load_things()
    if start is None:
        model, processor, training = _first_parts(recipe, things, quiet, tell)
    else:
        model, processor, training = _taken_up(start, recipe, things)
    if keep is not None:
        save_folder(model, processor, keep, training | _told(model, things, recipe, training))
    started = time.monotonic()
    for turn in range(recipe.shape_rounds):
        if shape_phases(turn)[0] in training["curves"]:
            continue
        tell("shapes and lists of answers")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.half())
        training["curves"] |= train_on_shapes(
            model, processor.tokenizer, things, recipe, quiet, turn
        )
    before = training["seconds"].get("shapes", 0.0)
    training["seconds"]["shapes"] = before + time.monotonic() - started
    training |= _told(model, things, recipe, training)
    save_folder(model, processor, out, training)
    if evaluate:
        tell("evaluation of the saved folder")
        training["evaluation"] = evaluate_folder(out, progress=tell)
        write_records(out, training)
    return training


def _told(model: Any, things: Things, recipe: Recipe, training: dict[str, Any]) -> dict[str, Any]:
    """What is written of a run beside its curves and the error of its places."""
    return {
        "recipe": recipe.to_dict(),
        "names": {"emoji": len(things.emoji), "all": len(things.names)},
        "parameters": parameter_counts(model),
        "seconds": training["seconds"] | {"all": sum(training["seconds"].values())},
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _first_parts(
    recipe: Recipe, things: Things, report: Report, tell: Callable[[str], None]
) -> tuple[Any, Any, dict[str, Any]]:
    """Model and processor after the first two parts, and what is to be told of them."""
    from wheresight.pocket.model import build_model, build_processor
    from wheresight.pocket.places import write_places
    from wheresight.pocket.tokenizer import train_tokenizer
    from wheresight.pocket.train_decoder import train_decoder
    from wheresight.pocket.train_tower import train_tower

    started = time.monotonic()
    marks = architecture(recipe.architecture).marks
    tokenizer = train_tokenizer(things.names, recipe.vocabulary, marks)
    model = build_model(recipe, tokenizer)
    tell("tower and projector")
    tower = train_tower(model, tokenizer, things, recipe, report)
    place_error = write_places(model, things, recipe)
    between = time.monotonic()
    tell("decoder, on frozen tower and projector")
    decoder = train_decoder(model, tokenizer, things, recipe, report)
    training = {
        "seconds": {"tower": between - started, "decoder": time.monotonic() - between},
        "curves": {"tower": tower, "decoder": decoder},
        "place_error": place_error,
    }
    return model, build_processor(recipe, tokenizer), training


def _taken_up(folder: Path, recipe: Recipe, things: Things) -> tuple[Any, Any, dict[str, Any]]:
    """The same, from a folder that this package wrote."""
    from wheresight.pocket.evaluate import load_pocket
    from wheresight.pocket.model import build_processor
    from wheresight.pocket.tokenizer import train_tokenizer

    phases_left(folder, recipe)
    pocket = load_pocket(folder, things)
    told = json.loads((folder / "training.json").read_text())
    training = {
        "seconds": {part: told["seconds"][part] for part in told["seconds"] if part != "all"},
        "curves": told["curves"],
        "place_error": told["place_error"],
    }
    # Made anew, because a tokenizer that was loaded is saved with words on where it came from.
    marks = architecture(recipe.architecture).marks
    tokenizer = train_tokenizer(things.names, recipe.vocabulary, marks)
    known = tokenizer.get_vocab() == pocket.tokenizer.get_vocab()
    if pocket.kind.name != recipe.architecture or not known:
        raise WheresightError(
            f"{folder} holds another architecture or vocabulary than the recipe's. Expected one "
            f"that this version's recipe of {recipe.architecture} wrote."
        )
    return pocket.model, build_processor(recipe, tokenizer), training


def phases_left(folder: Path, recipe: Recipe) -> dict[str, int]:
    """The phases of a recipe that a folder of this package has not had, with their steps.

    Raises:
        WheresightError: if the folder has had all, or only a part of what is saved at once.
    """
    path = folder / "training.json"
    if not path.is_file():
        raise WheresightError(
            f"There is no training.json in {folder}. Expected a folder that `wheresight pocket "
            "train` wrote."
        )
    had = list(json.loads(path.read_text())["curves"])
    known = list(recipe.phases)
    # A tower and its decoder are saved together.
    if had != known[: len(had)] or len(had) not in range(2, len(known), 2):
        raise WheresightError(
            f"{folder} has had the phases {', '.join(had)}. Expected one that has had tower and "
            f"decoder, but not yet all of {', '.join(known)}, to go on from."
        )
    return {phase: recipe.phases[phase] for phase in known[len(had) :]}


def parameter_counts(model: Any) -> dict[str, int]:
    """Parameters of each part."""
    parts = {
        **architecture_of(model).vision(model),
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
