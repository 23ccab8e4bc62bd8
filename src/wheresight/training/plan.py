"""What a training will do, settled and looked at before any weights are read."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError, RunError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse, to_json
from wheresight.runs.launch import share_of_launcher
from wheresight.runs.progress import Progress
from wheresight.training.adapted import refuse_untrainable
from wheresight.training.request import Optimisation, Request

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard
    from wheresight.training.collate import Collator
    from wheresight.training.data import Corpus
    from wheresight.training.selection import Selection


@dataclass(frozen=True)
class Plan:
    """All that is known before weights are read.

    Attributes:
        request: what was asked for.
        spec: canonical form of the intervention.
        optimisation: every number that decides what is learned.
        card: the model.
        corpus, collator: the rows, and what makes them.
        selection: which rows.
        max_length: tokens that a row may have.
        workers: processes that make rows ready.
        seconds: that all this took.
    """

    request: Request
    spec: str
    optimisation: Optimisation
    card: ModelCard
    corpus: Corpus
    collator: Collator
    selection: Selection
    max_length: int
    workers: int
    seconds: float

    def identity(self) -> dict[str, Any]:
        """What decides the result, apart from rounding."""
        return {
            "model_revision": self.card.weights,
            "dtype": self.request.dtype,
            "attention": self.request.attention,
            "intervention": to_json(self.spec),
            "rows": self.selection.fingerprint,
            "end_of_answer": self.collator.end,
            **self.optimisation.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Way:
    """What one kind of training does in its own way before weights are read.

    Attributes:
        find: finds the model.
        name: what the model is called.
        longest: tokens that a row may have; None: the model's most.
        plain: rows are written as a picture and its caption, without the model's chat template.
        need_pictures: rows of text alone cannot be used.
        makes: methods have what is trained with the projector made here if the model lacks it.
    """

    find: Callable[[], ModelCard]
    name: str
    longest: int | None = None
    plain: bool = False
    need_pictures: bool = False
    makes: bool = False


def plan(request: Request, optimisation: Optimisation, way: Way, progress: Progress) -> Plan:
    """Read the data, find the model, check everything, and choose the rows.

    Raises:
        WheresightError: what was given, what was expected, what to do.
    """
    from wheresight.lvlm.loading import check_precision

    began = time.perf_counter()
    missing = [n for n in ("trl", "peft", "accelerate") if importlib.util.find_spec(n) is None]
    if missing:
        raise ModelError(
            f"Training needs {', '.join(missing)}, not installed here: pip install "
            "'wheresight[train]'."
        )
    if request.intervention is not None:
        refuse_untrainable(request.intervention)
    check_precision(request.dtype, request.attention)
    _refuse_several_processes()

    from wheresight.training.data import Corpus

    progress.say(f"Reading {request.data}")
    corpus = Corpus(request.data, request.images)
    if request.samples is not None:
        corpus.draw(request.samples, request.seed)  # says at once if there are too few
    progress.say(f"Looking up model {way.name}")
    card = way.find()
    own = card.trained.trained_under if card.trained else "none"
    spec = canonical(own if request.intervention is None else request.intervention)
    refuse_untrainable(spec)
    host = card.host(request.attention)
    if way.makes:
        host = dataclasses.replace(host, learned=frozenset(part.name for part in parse(spec)))
    refuse_unhosted(parse(spec), host)
    if card.trained:
        progress.say(f"{way.name} was trained under {own}")
        if spec != own:
            progress.say(f"Warning: it is now trained under {spec}, no longer under {own}")

    import torch

    from wheresight.lvlm.families import family_for_config
    from wheresight.runs.preparation import automatic
    from wheresight.runs.work import usable_cores
    from wheresight.training.collate import Collator
    from wheresight.training.selection import select
    from wheresight.training.templates import PLAIN, with_template

    family = family_for_config(card.config)
    if family.prefix_attention:
        raise ModelError(
            f"In {way.name!r} each token of a prompt attends to all of it, so what an answer "
            "may see hangs on where its prompt ends; conversations are not trained on there."
        )
    collator = Collator(
        with_template(card.processor, PLAIN) if way.plain else card.processor,
        family.image_token(card.config),
        stop_ids(card),
        getattr(torch, request.dtype),
        end="" if way.plain else None,
    )
    if collator.end:
        progress.say(f"The chat template ends no answer: {collator.end!r} is put behind each")
    on_one = torch.accelerator.is_available() and request.device != "cpu"
    workers = request.picture_workers
    workers = automatic(usable_cores(), on_one) if workers is None else workers
    longest = _most_positions(card)
    max_length = min(way.longest or longest, longest)
    selection = select(
        corpus,
        collator,
        samples=request.samples,
        seed=request.seed,
        max_length=max_length,
        skip_bad=request.skip_bad,
        workers=workers,
        progress=progress,
        need_pictures=way.need_pictures,
    )
    _say_selection(selection, request, progress)
    seconds = time.perf_counter() - began
    return Plan(
        request, spec, optimisation, card, corpus, collator, selection, max_length, workers,
        seconds,
    )  # fmt: skip


def _say_selection(selection: Selection, request: Request, progress: Progress) -> None:
    progress.say(
        f"{len(selection.rows):,} rows ({selection.text_only:,} of text alone), "
        f"{selection.tokens:,} tokens, {selection.learned:,} of them learned; the longest row has "
        f"{selection.longest:,}"
    )
    if selection.left_out:
        why = ", ".join(f"{n:,} {kind}" for kind, n in selection.left_out.items())
        short = request.samples is not None and len(selection.rows) < request.samples
        progress.say(f"Left out: {why}" + (" (fewer rows than asked for are left)" * short))


def _refuse_several_processes() -> None:
    share = share_of_launcher(os.environ)
    if share.world > 1:
        raise RunError(
            f"The environment says that this is process {share.rank} of {share.world} "
            f"({share.told_by}), and a training runs in one process. Start it once; a large global "
            "batch is accumulated (--micro-batch)."
        )


def _most_positions(card: ModelCard) -> int:
    text = card.config.get_text_config()
    return int(getattr(text, "max_position_embeddings", None) or 1 << 30)


def stop_ids(card: ModelCard) -> list[int]:
    """Ids at which the model stops: of its tokenizer, and of its generation settings."""
    import transformers

    given = [card.processor.tokenizer.eos_token_id, card.config.get_text_config().eos_token_id]
    if card.build is None:
        with contextlib.suppress(OSError):  # a model without such settings
            given.append(transformers.GenerationConfig.from_pretrained(card.place).eos_token_id)
    flat = [n for one in given for n in (one if isinstance(one, list | tuple) else [one])]
    return sorted({int(n) for n in flat if n is not None})
