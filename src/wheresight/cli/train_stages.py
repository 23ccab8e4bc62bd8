"""`wheresight train stage1` and `stage2`: a LLaVA from its vision tower and language model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from wheresight.cli.options import AllowPickle, Attention, TrustRemoteCode
from wheresight.cli.train_options import (
    Data,
    DataWithPictures,
    Device,
    Dtype,
    Epochs,
    GradientCheckpointing,
    Images,
    MicroBatch,
    ModelFolder,
    PictureWorkers,
    Seed,
    SkipBad,
    StageMaxLength,
    StageSamples,
)


def stage1(
    data: DataWithPictures,
    out: ModelFolder = "wheresight-stage1",
    images: Images = None,
    vision: Annotated[
        str | None,
        typer.Option(help="Vision tower: a folder or hub id of a CLIP or SigLIP."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Language model: a folder or hub id, such as a Vicuna or Qwen2."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A whole model to begin with, in place of --vision and --language."),
    ] = None,
    intervention: Annotated[
        str | None,
        typer.Option(
            "--intervention",
            "-i",
            help="none, bapa, normalize:trained, ... that it is trained under. Default: none, or "
            "what --model was trained under.",
        ),
    ] = None,
    vision_layer: Annotated[
        int | None,
        typer.Option(
            help="Hidden state of the tower that the projector is given. Default: -2, or what the "
            "intervention says."
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="plain: a row is its picture and its answer, as in LLaVA; chat: the whole "
            "conversation. Default: plain."
        ),
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(
            help="File with the model's chat template. Default: the language model's own, with "
            "places for pictures; Vicuna's if it has none."
        ),
    ] = None,
    samples: StageSamples = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Its peak; up over 3 % of the steps, then a cosine. Default: 0.001."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Rows in one step, accumulated. Default: 256.")
    ] = None,
    micro_batch: MicroBatch = None,
    epochs: Epochs = None,
    max_length: StageMaxLength = None,
    skip_bad: SkipBad = False,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    gradient_checkpointing: GradientCheckpointing = None,
    picture_workers: PictureWorkers = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Put a vision tower and a language model together, and train the projector between them.

    The same command again goes on where it stopped. The result is a plain model's folder, for
    `train stage2 --model OUT`.
    """
    _run("stage1", locals())


def stage2(
    data: Data,
    model: Annotated[str, typer.Option(help="The folder of a finished stage 1, or a whole LLaVA.")],
    out: ModelFolder = "wheresight-stage2",
    images: Images = None,
    intervention: Annotated[
        str | None,
        typer.Option(
            "--intervention",
            "-i",
            help="none, bapa, normalize:trained, ... that it is trained under. Default: what "
            "--model was trained under.",
        ),
    ] = None,
    samples: StageSamples = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Its peak; up over 3 % of the steps, then a cosine. Default: 0.00002."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Rows in one step, accumulated. Default: 128.")
    ] = None,
    micro_batch: MicroBatch = None,
    epochs: Epochs = None,
    max_length: StageMaxLength = None,
    skip_bad: SkipBad = False,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    gradient_checkpointing: GradientCheckpointing = None,
    picture_workers: PictureWorkers = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Train projector and language model on conversations; the vision tower stays as it is.

    The same command again goes on where it stopped. Use the result with --model, in `probe`,
    `evaluate` and `diagnose`, or with wheresight.load(OUT).
    """
    _run("stage2", locals())


def _run(stage: str, given: Mapping[str, Any]) -> None:
    from wheresight.training.stage_request import StageRequest

    options: dict[str, Any] = {
        name: value for name, value in given.items() if name in StageRequest.__dataclass_fields__
    }
    request = StageRequest(**{**options, "stage": stage})

    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.cli.train_curve import say_curve
    from wheresight.training.stages import train_stage

    console = Console(highlight=False)
    outcome = train_stage(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    weights = outcome.training.weights
    parts = ", ".join(f"{part} {count:,}" for part, count in weights.parameters.items())
    say_curve(console, outcome.training.curve, f"Weights that were trained: {parts}.")
    console.print(f"Model: {outcome.folder}", soft_wrap=True)
    console.print(f"Loss: {outcome.folder / 'loss.png'}", soft_wrap=True)
