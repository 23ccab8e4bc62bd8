"""`wheresight diagnose`: experiments and readings inside the model."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

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
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="pocket, a folder, a hub id of a supported LVLM, or skeleton:NAME for random "
            "weights (see: wheresight list models)."
        ),
    ] = "pocket",
    adapter: Annotated[
        str | None,
        typer.Option(
            help="Folder of a trained adapter (see: wheresight train). Interventions are applied "
            "as given; default: the one that it was trained under."
        ),
    ] = None,
    intervention: Annotated[
        list[str] | None,
        typer.Option(
            "--intervention",
            "-i",
            help="none, bapa, ... Repeat to compare several with the first. Default: none.",
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="Image-caption pairs: pocket, folder:PATH, parquet:PATH, dataset:NAME[@split], "
            "webdataset:PATTERN."
        ),
    ] = "pocket",
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
        ),
    ] = None,
    question: Annotated[
        str, typer.Option(help="paper, contains, short, or your own text with {caption}.")
    ] = "paper",
    grid: Annotated[str, typer.Option(help="Rows x columns, 1x2 to 8x8.")] = "3x3",
    layout: Annotated[
        str,
        typer.Option(help="swap: the key trades places; insert: the others slide, as published."),
    ] = "swap",
    canvas: Annotated[
        int | None,
        typer.Option(help="Side of the composite in pixels. Default: the tower's size, else 840."),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of one picture's box in pixels. Default: what fits.")
    ] = None,
    background: Annotated[str, typer.Option(help="Colour name or #rrggbb.")] = "white",
    seed: Annotated[int, typer.Option(help="Seed of items and of every draw.")] = 0,
    image_column: Annotated[
        str | None, typer.Option(help="Column with pictures. Default: found by name.")
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="Column with captions. Default: found by name.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Keep only so many pairs of the source, drawn by the seed.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over pictures and captions that are unusable.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda:0, ... Default: the accelerator, if there is one.")
    ] = None,
    attention: Annotated[str, typer.Option(help="sdpa, eager or flash_attention_2.")] = "sdpa",
    batch_size: Annotated[int, typer.Option(help="Questions in one forward pass.")] = 64,
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 2000,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Accept weights that are not safetensors.")
    ] = False,
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
        interventions=interventions_of(intervention, adapter, ["none"]),
    )
    console = Console()
    outcome = run_diagnose(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_diagnosis(outcome.diagnosis, console)
    console.print(f"\nRecords and findings: {outcome.folder}", highlight=False)
    console.print(f"Report: {outcome.report}", highlight=False, soft_wrap=True)
