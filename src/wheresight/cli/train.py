"""`wheresight train`: adapters that are trained under an intervention."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.options import (
    AllowPickle,
    Attention,
    TrustRemoteCode,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Train under an intervention, so that the model can make use of it.",
)


@app.callback()
def _group() -> None:
    """Keep `lora` a command of its own while it is the only one."""


@app.command()
def lora(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Conversations: .json (a list), .jsonl or .parquet, in LLaVA's form "
            "(conversations, image) or TRL's (messages, images). Rows of text alone are welcome.",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for the adapter; a PEFT folder.")
    ] = "wheresight-lora",
    images: Annotated[
        str | None, typer.Option("--images", help="Folder of the files that the data names.")
    ] = None,
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
    micro_batch: Annotated[
        int | None,
        typer.Option(help="Rows in one forward pass. Default: the batch's largest divisor to 8."),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows. Default: 1.")] = None,
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
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="Leave out rows that are too long or cannot be read, and draw others.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the draw, the first weights, the order.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda. Default: the accelerator, if there is one.")
    ] = None,
    attention: Attention = "sdpa",
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing",
            help="Compute layers again in the backward pass, to save memory. Default: on an "
            "accelerator.",
        ),
    ] = None,
    picture_workers: Annotated[
        int | None,
        typer.Option(help="Processes that make rows ready; 0 makes them in this one."),
    ] = None,
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
    from wheresight.training.lora import train_lora

    console = Console(highlight=False)
    outcome = train_lora(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    curve, adapter = outcome.training.curve, outcome.training.adapter
    tenth = max(1, len(curve) // 10)
    first, last = (sum(s.loss for s in part) / tenth for part in (curve[:tenth], curve[-tenth:]))
    console.print(
        f"\n{adapter.parameters:,} weights were trained ({adapter.parameters / adapter.of:.2%} of "
        f"the model's). Loss of the first tenth of {len(curve):,} steps: {first:.4f}; of the last: "
        f"{last:.4f}.",
    )
    console.print(f"Adapter: {outcome.folder}", soft_wrap=True)
    console.print(f"Loss: {outcome.folder / 'loss.png'}", soft_wrap=True)
