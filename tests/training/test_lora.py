"""Training the pocket model: what it writes, going on, refusing."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file

import wheresight
from wheresight.errors import WheresightError
from wheresight.runs.progress import Silent
from wheresight.training.collate import IGNORED, Collator
from wheresight.training.data import Corpus
from wheresight.training.lora import LoraOutcome, train_lora
from wheresight.training.request import LoraRequest
from wheresight.training.trainer import (
    Batches,
    Told,
    Trainer,
    last_checkpoint,
    make_trainer,
)

STEPS = 6  # 8 rows, 4 a step, three times
Train = Callable[..., LoraOutcome]


class Stops(Silent):
    """Ends the run as Ctrl-C does, after some steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def start(self, total: int, done: int, unit: str) -> None:
        self._counts = unit == "steps"

    def advance(self, count: int) -> None:
        self._left -= count * self._counts
        if self._left < 0:
            raise KeyboardInterrupt


def losses(outcome: LoraOutcome) -> list[float]:
    return [step.loss for step in outcome.training.curve]


def test_a_training_from_its_rows_to_its_folder(undisturbed: LoraOutcome) -> None:
    outcome = undisturbed
    training, folder = outcome.training, outcome.folder
    assert outcome.steps == len(training.curve) == STEPS
    assert losses(outcome)[-1] < losses(outcome)[0]
    assert {file.name for file in folder.iterdir() if not file.name.startswith(".")} == {
        "adapter_config.json", "adapter_model.safetensors", "intervention.json", "training.json",
        "loss.png", "loss.svg", "checkpoints",
    }  # fmt: skip
    assert training.request["intervention"] == training.intervention == "bapa"
    assert (training.data.samples, training.data.text_only, training.data.pictures) == (8, 2, 10)
    base = wheresight.load("pocket", device="cpu")
    lora = load_file(folder / "adapter_model.safetensors")
    assert training.adapter.parameters == sum(w.numel() for w in lora.values())
    assert training.adapter.of == sum(p.numel() for p in base.model.parameters())
    assert all("language_model.layers" in name for name in lora)

    loaded = wheresight.load("pocket", adapter=folder, device="cpu")  # warns if it does nothing
    assert loaded.trained_under == "bapa"
    assert loaded.revision.startswith(f"{base.revision}+adapter-")
    assert json.loads((folder / "intervention.json").read_text())["base_revision"] == base.revision
    plain = peft.PeftModel.from_pretrained(base.model, str(folder)).eval()
    ids = {"input_ids": torch.tensor([[1, 5, 9]]), "attention_mask": torch.ones(1, 3).long()}
    with torch.no_grad():
        assert torch.equal(loaded.model(**ids).logits, plain(**ids).logits)


@pytest.mark.parametrize("spec", ["none", "bapa"])
def test_the_first_loss_is_that_of_the_stock_model_under_the_intervention(
    spec: str, request_: LoraRequest
) -> None:
    """By hand, row by row, from logits of the model that is to be trained."""
    outcome = train_lora(
        replace(request_, intervention=spec, batch=8, micro_batch=4, epochs=1, max_length=200)
    )
    base = wheresight.load("pocket", device="cpu")
    corpus = Corpus(request_.data, request_.images)
    image = base.family.image_token(base.core.config)
    stops = [base.processor.tokenizer.eos_token_id]
    collator = Collator(base.processor, image, stops, torch.float32)
    expected = by_hand(base, collator, corpus, range(8), spec)
    assert losses(outcome) == [pytest.approx(expected, rel=1e-4)]


def by_hand(
    lvlm: wheresight.LVLM, collator: Collator, corpus: Corpus, rows: range, spec: str
) -> float:
    """The mean loss of learned tokens, row by row, token by token, from the stock logits."""
    total, count = 0.0, 0
    with torch.no_grad(), wheresight.intervene(lvlm, spec):
        for one in map(corpus.__getitem__, rows):
            batch = collator.batch([collator.row(one, corpus.pictures(one))])
            labels = batch.pop("labels")[0, 1:]
            logp = lvlm.model(**batch).logits[0, :-1].log_softmax(-1)
            total -= sum(logp[n, k].item() for n, k in enumerate(labels) if k != IGNORED)
            count += int((labels != IGNORED).sum())
    return total / count


@pytest.mark.parametrize("after", [0, 2])
def test_a_training_that_was_stopped_goes_on_with_the_same_numbers(
    after: int, request_: LoraRequest, undisturbed: LoraOutcome, written: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_lora(request_, progress=Stops(after))
    found = last_checkpoint(written / "out" / "checkpoints")
    assert (found is None) == (after == 0)
    outcome = train_lora(request_)
    assert outcome.training.curve == undisturbed.training.curve
    assert outcome.training.begun_at == ([0, after] if after else [0])
    assert outcome.steps == STEPS - after
    a, b = (load_file(o.folder / "adapter_model.safetensors") for o in (undisturbed, outcome))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    again = train_lora(request_)
    assert again.steps == 0 and again.training == outcome.training


def test_a_checkpoint_that_was_half_written_is_passed_over(
    undisturbed: LoraOutcome, tmp_path: Path
) -> None:
    checkpoints = shutil.copytree(undisturbed.folder / "checkpoints", tmp_path / "checkpoints")
    latest = last_checkpoint(checkpoints)
    assert latest is not None and latest.name == f"checkpoint-{STEPS}"
    (latest / "trainer_state.json").write_text('{"epoch": 1')
    before = last_checkpoint(checkpoints)
    assert before is not None and before.name == f"checkpoint-{STEPS - 1}"
    (before / "optimizer.pt").unlink()
    assert last_checkpoint(checkpoints) is None


def test_how_a_batch_is_cut_up_decides_rounding_alone(
    request_: LoraRequest, undisturbed: LoraOutcome
) -> None:
    """The other is cut into single rows, so that nothing is padded."""
    single = train_lora(replace(request_, micro_batch=1))
    assert losses(single) == pytest.approx(losses(undisturbed), rel=2e-3)
    assert losses(single)[:2] == pytest.approx(losses(undisturbed)[:2], rel=1e-5)


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl", "gemma3"])
def test_the_mean_is_over_tokens_in_every_family(
    family: str, tiny: Any, written: Path, tmp_path: Path
) -> None:
    """Also where transformers would take the mean of micro-batches' means."""
    from wheresight.training.adapted import add_lora

    corpus = Corpus(written / "data.json", written / "images")

    def curve(size: int) -> list[float]:
        lvlm, collator = tiny(family, dtype=torch.float32)
        torch.manual_seed(0)
        model = add_lora(lvlm, ("language_model",), 2, 4.0, 0.0)
        trainer = make_trainer(
            model, lvlm.processor, Batches(corpus, collator), range(4), Silent(),
            output_dir=str(tmp_path / f"{size}"), per_device_train_batch_size=size,
            gradient_accumulation_steps=4 // size, num_train_epochs=3, learning_rate=0.01,
            save_strategy="no", bf16=False, use_cpu=True, gradient_checkpointing=size == 4,
        )  # fmt: skip
        with wheresight.intervene(lvlm, "bapa"):
            trainer.train()
        return [one["loss"] for one in trainer.state.log_history if "loss" in one]

    single, whole = curve(1), curve(4)
    assert len(single) == 3 and single[-1] < single[0]
    assert single == pytest.approx(whole, rel=1e-3)
    assert single[0] == pytest.approx(by_hand(*tiny(family), corpus, range(4), "bapa"), rel=1e-4)


def test_another_training_is_refused_in_the_same_folder(request_: LoraRequest) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_lora(request_, progress=Stops(3))
    for other in (replace(request_, rank=4), replace(request_, intervention="none")):
        with pytest.raises(WheresightError, match="holds another training: it differs in"):
            train_lora(other)
    train_lora(replace(request_, micro_batch=1))  # this decides rounding alone
    with pytest.raises(WheresightError, match="it differs in rows, seed"):
        train_lora(replace(request_, seed=1))


def test_bad_rows_are_told_or_left_out(request_: LoraRequest, written: Path) -> None:
    rows = json.loads((written / "data.json").read_text())
    rows[1]["conversations"][1]["value"] = "very " * 2000
    rows[2]["image"][0] = "missing.png"
    rows[3] = {"id": "x"}
    (written / "data.json").write_text(json.dumps(rows))
    with pytest.raises(WheresightError, match="--skip-bad"):
        train_lora(request_)
    outcome = train_lora(replace(request_, skip_bad=True, epochs=1))
    assert outcome.training.data.left_out == {"too long": 1, "unusable": 2}
    assert outcome.training.data.samples == 5
    shutil.rmtree(outcome.folder)
    fewer = train_lora(replace(request_, skip_bad=True, epochs=1, samples=3))
    assert fewer.training.data.samples == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "nowhere.json"}, "is no file"),
        ({"images": "nowhere"}, "does not exist"),
        ({"images": None}, "no folder of images was given"),
        ({"preset": "llava"}, "Unknown preset 'llava'. Did you mean"),
        ({"samples": 9}, "9 samples were asked for"),
        ({"samples": 0}, "--samples was given as 0"),
        ({"micro_batch": 3}, "cannot be cut into parts of 3"),
        ({"learning_rate": math.nan}, "--learning-rate was given as nan"),
        ({"dtype": "float16"}, "training is in float32 or bfloat16"),
        ({"intervention": "scalingvis:alpha=0.8"}, "prompt and answer are one text"),
        ({"intervention": "circle"}, "M-RoPE"),
        ({"target": "tower"}, "Unknown part to adapt 'tower'"),
        ({"max_length": 20}, "tokens, and at most 20 are taken"),
        ({"out": "memory://x"}, "needs a local folder"),
        ({"out": "."}, "is not empty and holds no training"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    change: dict[str, Any],
    says: str,
    request_: LoraRequest,
    written: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(written)
    with pytest.raises(WheresightError, match=says):
        train_lora(replace(request_, **change))
    assert not (written / "out" / "training.json").exists()


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    state = SimpleNamespace(global_step=7, max_steps=100)
    told = Told(Silent())
    told.on_log(None, state, None, logs={"loss": 0.5})
    with pytest.raises(WheresightError, match="became nan at step 7. Lower --learning-rate"):
        told.on_log(None, state, None, logs={"loss": math.nan})


def test_memory_that_runs_out_is_told(
    request_: LoraRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "train", full)
    with pytest.raises(WheresightError, match="with a smaller --micro-batch"):
        train_lora(request_)


def test_several_processes_are_refused(
    request_: LoraRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(WheresightError, match="a training runs in one process"):
        train_lora(request_)


def test_the_command_line(request_: LoraRequest) -> None:
    command = [
        sys.executable, "-m", "wheresight", "train", "lora", "--data", request_.data, "--images",
        str(request_.images), "-i", "bapa", "--batch", "4", "--out", request_.out,
    ]  # fmt: skip
    wrong = subprocess.run([*command, "--rank", "0"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.strip() == "wheresight: --rank was given as 0; expected 1 or more."
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "weights were trained" in done.stdout
    assert "Warning" not in done.stderr
    assert (Path(request_.out) / "training.json").is_file()
