"""What a LoRA training is asked for, and the numbers that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wheresight.errors import RunError
from wheresight.training.adapted import targets
from wheresight.training.presets import WARMUP, lora_preset

_MICRO_BATCH = 8  # rows at once, where nobody has said
_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class LoraRequest:
    """What `wheresight train lora` is asked for; each field is the option of the same name.

    What is None comes from the preset, or is found out.
    """

    out: str
    data: str
    images: str | None = None
    model: str = "pocket"
    intervention: str = "none"
    preset: str | None = None
    samples: int | None = None
    rank: int | None = None
    alpha: float | None = None
    dropout: float = 0.0
    learning_rate: float | None = None
    batch: int | None = None
    micro_batch: int | None = None
    epochs: float | None = None
    target: str = "language_model"
    max_length: int | None = None
    skip_bad: bool = False
    seed: int = 0
    dtype: str = "float32"
    device: str | None = None
    attention: str = "sdpa"
    gradient_checkpointing: bool | None = None
    picture_workers: int | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False


class Optimisation(BaseModel):
    """The numbers that decide what is learned, all of them settled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(description="Of LoRA.")
    alpha: float = Field(description="Of LoRA; its update is scaled by alpha / rank.")
    dropout: float = Field(description="Of LoRA's input.")
    target: tuple[str, ...] = Field(description="Parts of the model that are adapted.")
    learning_rate: float = Field(description="Its peak.")
    schedule: str = Field(description="Of the learning rate.")
    warmup: float = Field(description="Share of the steps in which the rate rises.")
    batch: int = Field(description="Conversations in one step.")
    epochs: float = Field(description="Passes over the rows.")
    optimizer: str = Field(description="As transformers calls it.")
    weight_decay: float = Field(description="Of the optimizer.")
    gradient_norm: float = Field(description="Longer gradients are cut to this.")
    loss: str = Field(description="What is averaged over what.")
    seed: int = Field(description="Of the draw, of the first weights, and of the order of rows.")


def settle(request: LoraRequest) -> Optimisation:
    """Put preset and options together.

    Raises:
        RunError: unknown preset; a number out of its range.
    """
    preset = lora_preset(request.preset)

    def chosen(given: Any, default: Any) -> Any:
        return default if given is None else given

    found = Optimisation(
        rank=chosen(request.rank, preset.rank),
        alpha=chosen(request.alpha, preset.alpha),
        dropout=request.dropout,
        target=targets(request.target),
        learning_rate=chosen(request.learning_rate, preset.learning_rate),
        schedule="cosine",
        warmup=WARMUP,
        batch=chosen(request.batch, preset.batch),
        epochs=chosen(request.epochs, preset.epochs),
        optimizer="adamw_torch",
        weight_decay=0.0,
        gradient_norm=1.0,
        loss="mean cross-entropy over all learned tokens of a step",
        seed=request.seed,
    )
    for name, value, least in (
        ("rank", found.rank, 1),
        ("batch", found.batch, 1),
        ("samples", request.samples, 1),
        ("micro-batch", request.micro_batch, 1),
        ("max-length", request.max_length, 2),
        ("picture-workers", request.picture_workers, 0),
        ("seed", found.seed, 0),
    ):
        if value is not None and value < least:
            raise RunError(f"--{name} was given as {value}; expected {least} or more.")
    for name, number in (
        ("alpha", found.alpha),
        ("learning-rate", found.learning_rate),
        ("epochs", found.epochs),
    ):
        if not (number > 0 and math.isfinite(number)):
            raise RunError(f"--{name} was given as {number}; expected a number above 0.")
    if not 0 <= found.dropout < 1:
        raise RunError(f"--dropout was given as {found.dropout}; expected 0 or more, below 1.")
    if request.dtype not in _DTYPES:
        raise RunError(
            f"--dtype was given as {request.dtype!r}; training is in {' or '.join(_DTYPES)} "
            "(weights of LoRA are float32 in both)."
        )
    micro_batch(request, found.batch)
    return found


def micro_batch(request: LoraRequest, batch: int) -> int:
    """Rows in one forward pass: as asked, or the largest divisor of the batch up to 8.

    Raises:
        RunError: if the batch cannot be cut into such parts.
    """
    if request.micro_batch is None:
        return max(n for n in range(1, _MICRO_BATCH + 1) if batch % n == 0)
    if batch % request.micro_batch:
        raise RunError(
            f"A batch of {batch} cannot be cut into parts of {request.micro_batch} rows "
            "(--micro-batch). Give a divisor of the batch."
        )
    return request.micro_batch
