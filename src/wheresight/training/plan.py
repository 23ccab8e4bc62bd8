"""What a training will do, settled and looked at before any weights are read."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError, RunError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse, to_json
from wheresight.runs.launch import share_of_launcher
from wheresight.runs.progress import Progress
from wheresight.training.adapted import refuse_untrainable
from wheresight.training.presets import lora_preset
from wheresight.training.request import LoraRequest, Optimisation, settle

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

    request: LoraRequest
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


def plan(request: LoraRequest, progress: Progress) -> Plan:
    """Read the data, find the model, check everything, and choose the rows.

    Raises:
        WheresightError: what was given, what was expected, what to do.
    """
    from wheresight.lvlm.loading import check_precision, look_up

    began = time.perf_counter()
    missing = [n for n in ("trl", "peft", "accelerate") if importlib.util.find_spec(n) is None]
    if missing:
        raise ModelError(
            f"Training needs {', '.join(missing)}, not installed here: pip install "
            "'wheresight[train]'."
        )
    optimisation = settle(request)
    spec = canonical(request.intervention)
    refuse_untrainable(spec)
    check_precision(request.dtype, request.attention)
    _refuse_several_processes()
    preset = lora_preset(request.preset)
    if preset.note:
        progress.say(f"Preset {request.preset}: {preset.note}")

    from wheresight.training.data import Corpus

    progress.say(f"Reading {request.data}")
    corpus = Corpus(request.data, request.images)
    if request.samples is not None:
        corpus.draw(request.samples, request.seed)  # says at once if there are too few
    progress.say(f"Looking up model {request.model}")
    card = look_up(request.model, trust_remote_code=request.trust_remote_code)
    refuse_unhosted(parse(spec), card.host(request.attention))

    import torch

    from wheresight.lvlm.families import family_for_config
    from wheresight.runs.preparation import automatic
    from wheresight.runs.work import usable_cores
    from wheresight.training.collate import Collator
    from wheresight.training.selection import select

    family = family_for_config(card.config)
    if family.prefix_attention:
        raise ModelError(
            f"In {request.model!r} each token of a prompt attends to all of it, so what an answer "
            "may see hangs on where its prompt ends; conversations are not trained on there."
        )
    collator = Collator(
        card.processor,
        family.image_token(card.config),
        stop_ids(card),
        getattr(torch, request.dtype),
    )
    if collator.end:
        progress.say(f"The chat template ends no answer: {collator.end!r} is put behind each")
    on_one = torch.accelerator.is_available() and request.device != "cpu"
    workers = request.picture_workers
    workers = automatic(usable_cores(), on_one) if workers is None else workers
    longest = _most_positions(card)
    max_length = min(request.max_length or longest, longest)
    selection = select(
        corpus,
        collator,
        samples=request.samples,
        seed=request.seed,
        max_length=max_length,
        skip_bad=request.skip_bad,
        workers=workers,
        progress=progress,
    )
    _say_selection(selection, request, progress)
    seconds = time.perf_counter() - began
    return Plan(
        request, spec, optimisation, card, corpus, collator, selection, max_length, workers,
        seconds,
    )  # fmt: skip


def _say_selection(selection: Selection, request: LoraRequest, progress: Progress) -> None:
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
