"""What a training is asked for, and the numbers that follow from it."""

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
class Request:
    """What every training is asked for; each field is the option of the same name.

    What is None comes from the preset, or is found out.
    """

    out: str
    data: str
    images: str | None = None
    intervention: str | None = None
    samples: int | None = None
    learning_rate: float | None = None
    batch: int | None = None
    micro_batch: int | None = None
    epochs: float | None = None
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


@dataclass(frozen=True)
class LoraRequest(Request):
    """What `wheresight train lora` is asked for; each field is the option of the same name."""

    model: str = "pocket"
    intervention: str | None = "none"
    preset: str | None = None
    rank: int | None = None
    alpha: float | None = None
    dropout: float = 0.0
    target: str = "language_model"


class Optimisation(BaseModel):
    """The numbers that decide what is learned, all of them settled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class LoraOptimisation(Optimisation):
    """The numbers of a LoRA training."""

    rank: int = Field(description="Of LoRA.")
    alpha: float = Field(description="Of LoRA; its update is scaled by alpha / rank.")
    dropout: float = Field(description="Of LoRA's input.")
    target: tuple[str, ...] = Field(description="Parts of the model that are adapted.")


def settle(request: LoraRequest) -> LoraOptimisation:
    """Put preset and options together.

    Raises:
        RunError: unknown preset; a number out of its range.
    """
    preset = lora_preset(request.preset)
    found = LoraOptimisation(
        rank=chosen(request.rank, preset.rank),
        alpha=chosen(request.alpha, preset.alpha),
        dropout=request.dropout,
        target=targets(request.target),
        **numbers(request, preset, WARMUP, 0.0),
    )
    check_numbers(request, found, rank=found.rank)
    refuse_not_above_0("alpha", found.alpha)
    if not 0 <= found.dropout < 1:
        raise RunError(f"--dropout was given as {found.dropout}; expected 0 or more, below 1.")
    return found


def chosen(given: Any, default: Any) -> Any:
    """What was given, or else the default."""
    return default if given is None else given


def numbers(request: Request, preset: Any, warmup: float, weight_decay: float) -> dict[str, Any]:
    """The numbers that every training has, by the name of their field.

    Args:
        request: what was asked for.
        preset: has `learning_rate`, `batch` and `epochs`.
        warmup, weight_decay: as the fields of Optimisation.
    """
    return {
        "learning_rate": chosen(request.learning_rate, preset.learning_rate),
        "schedule": "cosine",
        "warmup": warmup,
        "batch": chosen(request.batch, preset.batch),
        "epochs": chosen(request.epochs, preset.epochs),
        "optimizer": "adamw_torch",
        "weight_decay": weight_decay,
        "gradient_norm": 1.0,
        "loss": "mean cross-entropy over all learned tokens of a step",
        "seed": request.seed,
    }


def check_numbers(request: Request, found: Optimisation, **more: int) -> None:
    """Raise RunError for a number out of its range, or a dtype that is not trained in.

    Args:
        request, found: what was asked for, and what it was settled to.
        more: other options that must be 1 or more.
    """
    for name, value, least in (
        *((name, value, 1) for name, value in more.items()),
        ("batch", found.batch, 1),
        ("samples", request.samples, 1),
        ("micro-batch", request.micro_batch, 1),
        ("max-length", request.max_length, 2),
        ("picture-workers", request.picture_workers, 0),
        ("seed", found.seed, 0),
    ):
        if value is not None and value < least:
            raise RunError(f"--{name} was given as {value}; expected {least} or more.")
    refuse_not_above_0("learning-rate", found.learning_rate)
    refuse_not_above_0("epochs", found.epochs)
    if request.dtype not in _DTYPES:
        raise RunError(
            f"--dtype was given as {request.dtype!r}; training is in {' or '.join(_DTYPES)} "
            "(what is trained is kept in float32 in both)."
        )
    micro_batch(request, found.batch)


def refuse_not_above_0(name: str, number: float) -> None:
    """Raise RunError for an option that is not a finite number above 0."""
    if not (number > 0 and math.isfinite(number)):
        raise RunError(f"--{name} was given as {number}; expected a number above 0.")


def micro_batch(request: Request, batch: int) -> int:
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
