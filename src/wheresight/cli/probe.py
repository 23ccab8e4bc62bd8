"""`wheresight probe`: the grid probe."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from wheresight.cli.names import complete_intervention
from wheresight.cli.options import (
    Adapter,
    AllowPickle,
    Attention,
    AutoBatchSize,
    Background,
    Canvas,
    CaptionColumn,
    Device,
    Dtype,
    Grid,
    ImageColumn,
    Layout,
    Model,
    Question,
    Replicates,
    Sample,
    SkipBad,
    Source,
    Tile,
    TrustRemoteCode,
)


class Protocol(StrEnum):
    balanced = "balanced"
    paper = "paper"


def probe(
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Folder for records and report; s3://... works too."),
    ] = "wheresight-probe",
    model: Model = "pocket",
    adapter: Adapter = None,
    intervention: Annotated[
        list[str] | None,
        typer.Option(
            "--intervention",
            "-i",
            help="none, bapa, ... Repeat to compare several. Default: what the adapter or model "
            "was trained under, else none and bapa.",
            autocompletion=complete_intervention,
        ),
    ] = None,
    source: Source = "pocket",
    items: Annotated[int, typer.Option(help="Key images, each shown in every cell.")] = 200,
    protocol: Annotated[
        Protocol,
        typer.Option(help="balanced asks matched negatives too; paper asks positives only."),
    ] = Protocol.balanced,
    question: Question = "paper",
    grid: Grid = "3x3",
    layout: Layout = "swap",
    canvas: Canvas = None,
    tile: Tile = None,
    background: Background = "white",
    jitter: Annotated[
        int, typer.Option(help="Shift each item's grid by up to so many pixels (patch phase).")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of distractors, negatives and places.")] = 0,
    generate: Annotated[
        bool, typer.Option("--generate", help="Read generated text, not the first token's scores.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Longest generated answer.")] = 16,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    sample: Sample = None,
    skip_bad: SkipBad = False,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    batch_size: AutoBatchSize = 64,
    replicates: Replicates = 2000,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    executor: Annotated[
        str,
        typer.Option(
            help="local: this process, or its share under torchrun or Slurm. ray: workers on a "
            "Ray cluster."
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to join, such as auto. Default: one on this machine."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Ray workers. Default: one a GPU, else one per --cores-per-worker."),
    ] = None,
    cores_per_worker: Annotated[
        int | None, typer.Option(help="CPU threads of each worker. Default with Ray: 1.")
    ] = None,
    picture_workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that draw and preprocess pictures ahead of each model; 0 draws in the "
            "model's own. Default: up to 4 beside an accelerator, else 0 on fewer than 8 cores."
        ),
    ] = None,
) -> None:
    """Move the same picture over a grid and see whether the answer changes.

    The same command again goes on where it stopped; another --intervention adds to the folder.
    """
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.runs.adapter import interventions_of
    from wheresight.runs.grid_run import GridRequest, run_grid

    options: dict[str, Any] = {
        name: value for name, value in locals().items() if name in GridRequest.__dataclass_fields__
    }
    request = GridRequest(
        **{**options, "protocol": protocol.value},
        interventions=interventions_of(intervention, adapter, ["none", "bapa"], model),
    )
    console = Console()
    outcome = run_grid(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )

    if outcome.results is None or outcome.report is None:
        console.print(f"\nRecords: {outcome.folder}", highlight=False)
        return

    from wheresight.report.terminal import print_results

    print_results(outcome.results, console)
    console.print(f"\nRecords and results: {outcome.folder}", highlight=False)
    console.print(f"Report: {outcome.report}", highlight=False, soft_wrap=True)
