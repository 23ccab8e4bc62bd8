"""`wheresight train`: adapters and whole models that are trained under an intervention."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.options import AllowPickle, Attention, TrustRemoteCode
from wheresight.cli.train_options import (
    Data,
    Device,
    Dtype,
    Epochs,
    GradientCheckpointing,
    Images,
    MicroBatch,
    PictureWorkers,
    Seed,
    SkipBad,
)
from wheresight.cli.train_stages import stage1, stage2

app = typer.Typer(
    no_args_is_help=True,
    help="Train under an intervention, so that the model can make use of it.",
)


@app.command()
def lora(
    data: Data,
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for the adapter; a PEFT folder.")
    ] = "wheresight-lora",
    images: Images = None,
    model: Annotated[
        str, typer.Option(help="pocket, a folder, or a hub id of a supported LVLM.")
    ] = "pocket",
    intervention: Annotated[
        str,
        typer.Option("--intervention", "-i", help="none, bapa, ... that it is trained under."),
    ] = "none",
    preset: Annotated[
        str | None,
        typer.Option(
            help="The paper's numbers for gemma3, llava-1.6, qwen2.5-vl or llava-1.5 (Table 4 of "
            "arXiv 2509.21984). Default: those of most of them. Options below go before it."
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Rows to draw by the seed; the paper's 10000. Default: all."),
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Of LoRA. Default: 8.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of LoRA. Default: 16.")] = None,
    dropout: Annotated[float, typer.Option(help="Of LoRA's input.")] = 0.0,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Its peak; up over 10 % of the steps, then a cosine. Default: 0.0001."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Rows in one step, accumulated. Default: 32.")
    ] = None,
    micro_batch: MicroBatch = None,
    epochs: Epochs = None,
    target: Annotated[
        str, typer.Option(help="What is adapted: language_model, or language_model+projector.")
    ] = "language_model",
    max_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens that a row may have, its pictures' included. Default: the model's most. "
            "Longer rows are refused, never cut."
        ),
    ] = None,
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
    """Train a LoRA adapter under an intervention.

    The same command again goes on where it stopped. Use the result with --adapter, in `probe`,
    `evaluate` and `diagnose`, or with wheresight.load(model, adapter=OUT).
    """
    from wheresight.training.request import LoraRequest

    options: dict[str, Any] = {
        name: value for name, value in locals().items() if name in LoraRequest.__dataclass_fields__
    }
    request = LoraRequest(**options)

    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.cli.train_curve import say_curve
    from wheresight.training.lora import train_lora

    console = Console(highlight=False)
    outcome = train_lora(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    adapter = outcome.training.adapter
    share = f"{adapter.parameters / adapter.of:.2%} of the model's"
    trained = f"{adapter.parameters:,} weights were trained ({share})."
    say_curve(console, outcome.training.curve, trained)
    console.print(f"Adapter: {outcome.folder}", soft_wrap=True)
    console.print(f"Loss: {outcome.folder / 'loss.png'}", soft_wrap=True)


app.command()(stage1)
app.command()(stage2)
