"""trl's SFTTrainer on our rows: what it is given, what it keeps, and what it tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from wheresight.errors import RunError
from wheresight.runs.progress import Progress
from wheresight.training.collate import Collator
from wheresight.training.data import Corpus

# The trainer takes rows for those of a vision dataset, and leaves them to the collator, if they
# have a column of this name. Ours holds the number of a row in the corpus.
_COLUMN = "images"
_SAID = 10  # how often the loss is said
_ADAPTER = "adapter_model.safetensors"
_TRAINED = "trained.safetensors"  # of a checkpoint: the weights that are trained, and no others


class Batches:
    """Makes a batch of numbers of rows."""

    def __init__(self, corpus: Corpus, collator: Collator) -> None:
        self.corpus, self.collator = corpus, collator

    def __call__(self, examples: Sequence[Mapping[str, int]]) -> dict[str, torch.Tensor]:
        found = [self.corpus[example[_COLUMN]] for example in examples]
        return self.collator.batch(
            [self.collator.row(one, self.corpus.pictures(one)) for one in found]
        )


class Trainer(SFTTrainer):
    """SFTTrainer whose loss is the mean over all learned tokens of a step, in every family.

    Some families say of themselves that they do not take the count of a step's tokens. Their loss
    would be a mean of means over micro-batches, and would hang on how a batch is cut up.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.model_accepts_loss_kwargs = True
        self.remove_callback(transformers.PrinterCallback)

    def _send_telemetry(self) -> None:
        """Nothing is sent anywhere."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Keep what is trained alone: a tower and a language model need no copy a checkpoint."""
        if isinstance(self.model, PeftModel):
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: p.detach().contiguous() for name, p in self._trained().items()}
        save_file(kept, str(folder / _TRAINED))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if isinstance(self.model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        path = Path(resume_from_checkpoint) / _TRAINED
        kept, wanted = load_file(str(path)), self._trained()
        if set(kept) != set(wanted):
            differ = sorted(set(kept) ^ set(wanted))
            raise RunError(
                f"The checkpoint {str(path)!r} is of other weights than those that are trained; it "
                f"differs in {', '.join(differ[:5])}. Remove the folder, or choose another --out."
            )
        with torch.no_grad():
            for name, weight in wanted.items():
                weight.copy_(kept[name])

    def _trained(self) -> dict[str, torch.Tensor]:
        named: Any = self.model
        return {name: p for name, p in named.named_parameters() if p.requires_grad}

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """The result's folder says what it is; checkpoints need no card."""


class Told(transformers.TrainerCallback):
    """Passes on how far training is, and stops where the loss is no number any more."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress.start(state.max_steps, state.global_step, "steps")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress.advance(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"The loss became {logs['loss']} at step {state.global_step}. Lower "
                "--learning-rate, or train in float32; checkpoints before it are kept."
            )
        if state.global_step % max(1, state.max_steps // _SAID) == 0:
            self._progress.say(
                f"Step {state.global_step} of {state.max_steps}: loss {logs['loss']:.4f}"
            )


def make_trainer(
    model: Any,
    processor: Any,
    batches: Batches,
    rows: Sequence[int],
    progress: Progress,
    **options: Any,
) -> Trainer:
    """A trainer of a PEFT model, or of those weights of a model that ask for gradients.

    Args:
        model: as it is trained.
        processor: of the model.
        batches: makes a batch of numbers of rows.
        rows: the numbers of the rows to train on.
        progress: is told of each step.
        options: of SFTConfig, beside those that follow from how rows are made here.
    """
    config = SFTConfig(
        **options,
        max_length=None,  # rows that are too long were dealt with before
        packing=False,
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    config._n_gpu = 1  # with more, the trainer would refuse; one device is used
    return Trainer(
        model=model,
        args=config,
        data_collator=batches,
        train_dataset=datasets.Dataset.from_dict({_COLUMN: list(rows)}),
        processing_class=processor,
        callbacks=[Told(progress)],
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that is whole, or None; what was left half written is passed over."""
    import json

    found = [(int(p.name.partition("-")[2]), p) for p in folder.glob("checkpoint-[0-9]*")]
    needed = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    for _, path in sorted(found, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_bytes())  # it is written last
        except (OSError, ValueError):
            continue
        weights = any((path / name).is_file() for name in (_ADAPTER, _TRAINED))
        if weights and all((path / name).is_file() for name in needed):
            return path
    return None
