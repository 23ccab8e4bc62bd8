"""One training from its plan to its folder, whatever it trains.

OUT/intervention.json    what it was trained under, beside the weights
OUT/training.json, loss.png, loss.svg    what was asked for, on what, how it went; written last
OUT/checkpoints/    the two latest checkpoints; the same command goes on from there
"""

from __future__ import annotations

import shlex
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wheresight.errors import RunError
from wheresight.interventions.spec import to_json
from wheresight.runs.progress import Progress
from wheresight.runs.results import Environment
from wheresight.training.folder import Folder
from wheresight.training.plan import Plan
from wheresight.training.record import FILE_NAME, BaseModelOf, Data, Step, TrainingRecord
from wheresight.training.request import Request, micro_batch

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM
    from wheresight.training.trainer import Trainer

_SAVES = 0.1  # a checkpoint after each tenth of the steps
_KEPT = 2  # the latest of them
_Record = TypeVar("_Record", bound=TrainingRecord)


@dataclass(frozen=True)
class Outcome(Generic[_Record]):
    """Where a training ended.

    Attributes:
        training: what training.json holds.
        folder: the result.
        steps: how many steps this call made; 0 if the training was done already.
    """

    training: _Record
    folder: Path
    steps: int


class Job(ABC, Generic[_Record]):
    """What one kind of training does in its own way; the rest is `run`.

    Attributes:
        record: what its training.json holds.
    """

    record: type[_Record]

    @abstractmethod
    def load_in(self, planned: Plan) -> str:
        """The dtype that weights are loaded in."""

    @abstractmethod
    def prepare(self, lvlm: LVLM, planned: Plan) -> LVLM:
        """The model with gradients on what is trained, and on nothing else."""

    @abstractmethod
    def write(self, lvlm: LVLM, planned: Plan, made: Path) -> dict[str, Any]:
        """Save the result to a folder; return the record's own fields."""


def run(
    job: Job[_Record],
    request: Request,
    make_plan: Callable[[], Plan],
    command: Sequence[str] | None,
    progress: Progress,
) -> Outcome[_Record]:
    """Train, or go on with it, and save all in one folder.

    Raises:
        WheresightError: what was given, what was expected, what to do; checkpoints are kept.
    """
    said = shlex.join(command) if command else repr(request)
    folder = Folder(request.out, job.record)
    folder.refuse_foreign()
    planned = make_plan()
    identity = planned.identity()
    with folder.hold(identity):
        done = folder.finished(identity)
        if done is not None:
            progress.say(f"{request.out} holds this training already; nothing is left to do")
            return Outcome(done, folder.path, 0)
        return _train(job, planned, folder, said, identity, progress)


# ---- training ---------------------------------------------------------------------------------


def _train(
    job: Job[_Record],
    planned: Plan,
    folder: Folder[_Record],
    said: str,
    identity: dict[str, Any],
    progress: Progress,
) -> Outcome[_Record]:
    import torch

    from wheresight.lvlm.intervene import intervene
    from wheresight.training.trainer import last_checkpoint

    lvlm = job.prepare(_load(job, planned, progress), planned)
    checkpoint = last_checkpoint(folder.checkpoints) if folder.begun() else None
    step = int(checkpoint.name.partition("-")[2]) if checkpoint else 0
    if checkpoint:
        progress.say(f"Going on from step {step}")
    begun_at = folder.begin(identity, step)
    began = time.perf_counter()
    try:
        with warnings.catch_warnings(), intervene(lvlm, planned.spec):
            # trl still calls settings of transformers by names that are about to change.
            warnings.simplefilter("ignore", FutureWarning)
            trainer = _trainer(planned, lvlm, folder, progress)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError:
        raise RunError(
            "Memory ran out. Repeat the command with a smaller --micro-batch or with "
            "--gradient-checkpointing; the result is the same but for rounding."
        ) from None
    finally:
        progress.stop()
    seconds = {"rows": planned.seconds, "training": time.perf_counter() - began}
    made = folder.making()
    common = _common(planned, lvlm, trainer, said, identity, begun_at, seconds)
    training = job.record(**common, **job.write(lvlm, planned, made))
    _publish(training, made, folder)
    return Outcome(training, folder.path, len(training.curve) - step)


def _load(job: Job[_Record], planned: Plan, progress: Progress) -> LVLM:
    import torch

    from wheresight.lvlm.loading import load

    request = planned.request
    progress.say(f"Loading {planned.card.name}")
    lvlm = load(
        planned.card,
        dtype=job.load_in(planned),
        device=request.device,
        attention=request.attention,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )
    if lvlm.device.type != "cpu" and lvlm.device.index:
        raise RunError(
            f"--device was given as {request.device!r}; a training takes the first accelerator "
            f"that it sees. Set CUDA_VISIBLE_DEVICES={lvlm.device.index} and leave --device out."
        )
    torch.manual_seed(planned.optimisation.seed)
    return lvlm


def _trainer(planned: Plan, lvlm: LVLM, folder: Folder[_Record], progress: Progress) -> Trainer:
    from wheresight.training.trainer import Batches, make_trainer

    request, numbers = planned.request, planned.optimisation
    at_once = micro_batch(request, numbers.batch)
    on_cpu = lvlm.device.type == "cpu"
    checkpointing = request.gradient_checkpointing
    return make_trainer(
        lvlm.model,
        lvlm.processor,
        Batches(planned.corpus, planned.collator),
        planned.selection.rows,
        progress,
        output_dir=str(folder.checkpoints),
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=numbers.batch // at_once,
        learning_rate=numbers.learning_rate,
        num_train_epochs=numbers.epochs,
        lr_scheduler_type=numbers.schedule,
        warmup_steps=numbers.warmup,
        optim=numbers.optimizer,
        weight_decay=numbers.weight_decay,
        max_grad_norm=numbers.gradient_norm,
        seed=numbers.seed,
        bf16=request.dtype == "bfloat16",
        gradient_checkpointing=not on_cpu if checkpointing is None else checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=_SAVES,
        save_total_limit=_KEPT,
        dataloader_num_workers=planned.workers,
        dataloader_pin_memory=not on_cpu,
        use_cpu=on_cpu,
    )


# ---- saving -----------------------------------------------------------------------------------


def _common(
    planned: Plan,
    lvlm: LVLM,
    trainer: Trainer,
    said: str,
    identity: dict[str, Any],
    begun_at: list[int],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The fields that every record has."""
    import torch

    request, selection, card = planned.request, planned.selection, planned.card
    return {
        "schema_version": 1,
        "command": said,
        "request": asdict(request),
        "model": BaseModelOf(
            name=card.name,
            revision=card.revision,
            dtype=request.dtype,
            attention=request.attention,
        ),
        "intervention": planned.spec,
        "intervention_json": to_json(planned.spec),
        "optimisation": planned.optimisation,
        "micro_batch": micro_batch(request, planned.optimisation.batch),
        "data": Data(
            path=str(planned.corpus.path),
            file_sha256=planned.corpus.fingerprint,
            rows_sha256=selection.fingerprint,
            rows=len(planned.corpus),
            samples=len(selection.rows),
            text_only=selection.text_only,
            pictures=selection.pictures,
            tokens=selection.tokens,
            learned_tokens=selection.learned,
            longest=selection.longest,
            max_length=planned.max_length,
            left_out=selection.left_out,
            end_of_answer=planned.collator.end,
        ),
        "curve": [
            Step(
                step=int(one["step"]),
                epoch=one["epoch"],
                loss=one["loss"],
                learning_rate=one["learning_rate"],
                gradient_norm=one["grad_norm"],
            )
            for one in trainer.state.log_history
            if "loss" in one
        ],
        "begun_at": begun_at,
        "seconds": seconds,
        "environment": Environment.capture(
            seeds={"training": request.seed},
            hardware={"device": str(lvlm.device), "threads": torch.get_num_threads()},
        ),
        "identity": identity,
    }


def _publish(training: _Record, made: Path, folder: Folder[_Record]) -> None:
    """Bring the result and the picture to their places, then training.json, which says that the
    rest is whole."""
    from wheresight.training.curve import loss_picture

    folder.publish(made)
    picture = loss_picture(training)
    folder.place.write("loss.png", picture.png())
    folder.place.write("loss.svg", picture.svg())
    folder.place.write(FILE_NAME, (training.model_dump_json(indent=2) + "\n").encode())
