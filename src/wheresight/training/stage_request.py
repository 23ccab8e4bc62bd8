"""What a stage of LLaVA's training is asked for, and the numbers that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from wheresight.errors import RunError, unknown_name
from wheresight.training.presets import STAGES, StagePreset
from wheresight.training.request import Optimisation, Request, check_numbers, numbers

Stage = Literal["stage1", "stage2"]
PROMPTS = ("plain", "chat")
# What is trained in each stage; the vision tower never is.
PARTS: dict[Stage, tuple[str, ...]] = {
    "stage1": ("projector",),
    "stage2": ("projector", "language_model"),
}


@dataclass(frozen=True)
class StageRequest(Request):
    """What `wheresight train stage1` or `stage2` is asked for; fields are options.

    Attributes:
        stage: which.
        model: folder or hub id of a whole model to begin with; or None, and then in stage 1
        vision, language: folders or hub ids of a vision tower and of a language model.
        vision_layer: which hidden state of the tower the projector is given; None: the last but
            one, or what the intervention or the model has.
        prompt: `plain`, picture and answer alone, or `chat`, the model's chat template; None:
            plain in stage 1.
        chat_template: file with the chat template of a model that is put together; None: that of
            the language model's tokenizer, or Vicuna's if it has none.
    """

    stage: Stage = "stage1"
    model: str | None = None
    vision: str | None = None
    language: str | None = None
    vision_layer: int | None = None
    prompt: str | None = None
    chat_template: str | None = None


class StageOptimisation(Optimisation):
    """The numbers of a stage."""

    stage: str = Field(description="stage1 or stage2.")
    trained: tuple[str, ...] = Field(description="Parts of the model that are trained.")
    prompt: str = Field(description="plain (picture and answer alone) or chat.")


def settle_stage(request: StageRequest) -> tuple[StageOptimisation, int]:
    """Put preset and options together; return the numbers, and the tokens that a row may have.

    Raises:
        RunError: a number out of its range; no model, or two.
    """
    preset: StagePreset = STAGES[request.stage]
    prompt = request.prompt or ("plain" if request.stage == "stage1" else "chat")
    if prompt not in PROMPTS:
        raise RunError(unknown_name("prompt", prompt, PROMPTS))
    _check_model(request)
    found = StageOptimisation(
        stage=request.stage,
        trained=PARTS[request.stage],
        prompt=prompt,
        **numbers(request, preset, preset.warmup, preset.weight_decay),
    )
    check_numbers(request, found)
    return found, request.max_length or preset.max_length


def _check_model(request: StageRequest) -> None:
    parts: list[str | int | None] = [request.vision, request.language]
    if request.stage == "stage2" and request.model is None:
        raise RunError("Stage 2 needs --model: the folder of a finished stage 1, or a whole LLaVA.")
    if request.model is None and None in parts:
        raise RunError(
            "Stage 1 needs --vision and --language, a vision tower and a language model to put "
            "together, or --model, a whole model."
        )
    parts += [request.chat_template, request.vision_layer]
    if request.model is not None and any(part is not None for part in parts):
        raise RunError(
            "--model is a whole model; --vision, --language, --vision-layer and --chat-template "
            "put one together. Give the one or the others."
        )
