"""Train a LoRA adapter under an intervention: look at the rows, train or go on, save.

OUT/adapter_config.json, adapter_model.safetensors    a plain PEFT folder
OUT/intervention.json    what it was trained under (`wheresight.load(base, adapter=OUT)` reads it)
OUT/training.json, loss.png, loss.svg    what was asked for, on what, how it went; written last
OUT/checkpoints/    the two latest checkpoints; the same command goes on from there
"""

from __future__ import annotations

import hashlib
import shlex
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wheresight.errors import RunError
from wheresight.interventions.spec import to_json
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.results import Environment
from wheresight.training.folder import Folder
from wheresight.training.plan import Plan, plan
from wheresight.training.presets import lora_preset
from wheresight.training.record import FILE_NAME, Adapted, BaseModelOf, Data, Step, Training
from wheresight.training.request import LoraRequest, micro_batch

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM
    from wheresight.training.trainer import Trainer

_SAVES = 0.1  # a checkpoint after each tenth of the steps
_KEPT = 2  # the latest of them


@dataclass(frozen=True)
class LoraOutcome:
    """Where a training ended.

    Attributes:
        training: what training.json holds.
        folder: the adapter.
        steps: how many steps this call made; 0 if the training was done already.
    """

    training: Training
    folder: Path
    steps: int


def train_lora(
    request: LoraRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> LoraOutcome:
    """Train an adapter under an intervention, or go on with it, and save both in one folder.

    Raises:
        WheresightError: what was given, what was expected, what to do; checkpoints are kept.
    """
    progress = progress or Silent()
    said = shlex.join(command) if command else repr(request)
    folder = Folder(request.out)
    folder.refuse_foreign()
    planned = plan(request, progress)
    identity = planned.identity()
    with folder.hold(identity):
        done = folder.finished(identity)
        if done is not None:
            progress.say(f"{request.out} holds this training already; nothing is left to do")
            return LoraOutcome(done, folder.path, 0)
        return _train(planned, folder, said, identity, progress)


# ---- training ---------------------------------------------------------------------------------


def _train(
    planned: Plan, folder: Folder, said: str, identity: dict[str, Any], progress: Progress
) -> LoraOutcome:
    import torch

    from wheresight.lvlm.intervene import intervene
    from wheresight.training.trainer import last_checkpoint

    lvlm = _load(planned, progress)
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
    training = _save(planned, lvlm, trainer, folder, said, identity, begun_at, seconds)
    return LoraOutcome(training, folder.path, len(training.curve) - step)


def _load(planned: Plan, progress: Progress) -> LVLM:
    """The model with its untrained adapter."""
    import torch

    from wheresight.lvlm.loading import load
    from wheresight.lvlm.wrapper import wrap
    from wheresight.training.adapted import add_lora

    request, numbers = planned.request, planned.optimisation
    progress.say(f"Loading {request.model}")
    base = load(
        planned.card,
        dtype=request.dtype,
        device=request.device,
        attention=request.attention,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )
    if base.device.type != "cpu" and base.device.index:
        raise RunError(
            f"--device was given as {request.device!r}; a training takes the first accelerator "
            f"that it sees. Set CUDA_VISIBLE_DEVICES={base.device.index} and leave --device out."
        )
    torch.manual_seed(numbers.seed)
    adapted = add_lora(base, numbers.target, numbers.rank, numbers.alpha, numbers.dropout)
    lvlm = wrap(adapted, base.processor)
    lvlm.name, lvlm.revision = base.name, base.revision
    return lvlm


def _trainer(planned: Plan, lvlm: LVLM, folder: Folder, progress: Progress) -> Trainer:
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


def _save(
    planned: Plan,
    lvlm: LVLM,
    trainer: Trainer,
    folder: Folder,
    said: str,
    identity: dict[str, Any],
    begun_at: list[int],
    seconds: dict[str, float],
) -> Training:
    """Write the adapter, the picture, and training.json, which says that the rest is whole."""
    import torch

    from wheresight.lvlm.adapters import save_adapter
    from wheresight.training.curve import loss_picture

    made = save_adapter(lvlm, folder.making(), planned.spec)
    weights = (made / "adapter_model.safetensors").read_bytes()
    request, selection, card = planned.request, planned.selection, planned.card
    trained = [p.numel() for p in lvlm.model.parameters() if p.requires_grad]
    config = lvlm.model.peft_config["default"]
    training = Training(
        schema_version=1,
        command=said,
        request=asdict(request),
        model=BaseModelOf(
            name=card.name,
            revision=card.revision,
            dtype=request.dtype,
            attention=request.attention,
        ),
        intervention=planned.spec,
        intervention_json=to_json(planned.spec),
        preset=request.preset,
        preset_note=lora_preset(request.preset).note,
        optimisation=planned.optimisation,
        micro_batch=micro_batch(request, planned.optimisation.batch),
        data=Data(
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
        adapter=Adapted(
            parameters=sum(trained),
            of=sum(p.numel() for p in lvlm.model.parameters()) - sum(trained),
            modules=str(config.target_modules),
            sha256=hashlib.sha256(weights).hexdigest(),
        ),
        curve=[
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
        begun_at=begun_at,
        seconds=seconds,
        environment=Environment.capture(
            seeds={"training": request.seed},
            hardware={"device": str(lvlm.device), "threads": torch.get_num_threads()},
        ),
        identity=identity,
    )
    folder.publish(made)
    picture = loss_picture(training)
    folder.place.write("loss.png", picture.png())
    folder.place.write("loss.svg", picture.svg())
    folder.place.write(FILE_NAME, (training.model_dump_json(indent=2) + "\n").encode())
    return training
