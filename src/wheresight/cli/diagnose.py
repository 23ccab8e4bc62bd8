"""`wheresight diagnose`: experiments and readings inside the model."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.names import complete_benchmark, complete_tool
from wheresight.cli.options import (
    Adapter,
    AllowPickle,
    Attention,
    Background,
    BatchSize,
    Canvas,
    CaptionColumn,
    Device,
    Dtype,
    Grid,
    ImageColumn,
    Interventions,
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
from wheresight.cli.probe import Protocol


def diagnose(
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for records and page; s3://... works too.")
    ] = "wheresight-diagnose",
    tool: Annotated[
        list[str] | None,
        typer.Option(
            "--tool",
            "-t",
            help="A diagnostic with its options, such as erasure:masks=20,items=4. Repeat for "
            "several. Default: all (see: wheresight list diagnostics).",
            autocompletion=complete_tool,
        ),
    ] = None,
    model: Model = "pocket",
    adapter: Adapter = None,
    intervention: Interventions = None,
    source: Source = "pocket",
    items: Annotated[
        int | None, typer.Option(help="Key images for every diagnostic. Default: its own.")
    ] = None,
    protocol: Annotated[
        Protocol | None,
        typer.Option(help="paper: where a paper's design differs from ours, use the paper's."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark",
            "-b",
            help="Ask the questions of a labelled benchmark in psi, compression and alignment, "
            "such as 2ds#images=60,variant=small_models or own:TABLE. Default: the items.",
            autocompletion=complete_benchmark,
        ),
    ] = None,
    question: Question = "paper",
    grid: Grid = "3x3",
    layout: Layout = "swap",
    canvas: Canvas = None,
    tile: Tile = None,
    background: Background = "white",
    seed: Annotated[int, typer.Option(help="Seed of items and of every draw.")] = 0,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    sample: Sample = None,
    skip_bad: SkipBad = False,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    batch_size: BatchSize = 64,
    replicates: Replicates = 2000,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Look for the bias inside the model: experiments and readings, each with figures.

    The same command again goes on where it stopped: what has its records is not computed again.
    """
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.report.diagnostics.terminal import print_diagnosis
    from wheresight.runs.adapter import interventions_of
    from wheresight.runs.diagnose import DiagnoseRequest, run_diagnose

    options: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name in DiagnoseRequest.__dataclass_fields__
    }
    request = DiagnoseRequest(
        **{**options, "protocol": protocol.value if protocol else None},
        tools=tuple(tool or ()),
        interventions=interventions_of(intervention, adapter, ["none"], model),
    )
    console = Console()
    outcome = run_diagnose(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_diagnosis(outcome.diagnosis, console)
    console.print(f"\nRecords and findings: {outcome.folder}", highlight=False)
    console.print(f"Report: {outcome.report}", highlight=False, soft_wrap=True)
