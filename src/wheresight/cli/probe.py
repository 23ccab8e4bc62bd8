"""`wheresight probe`: the grid probe."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from wheresight.cli.batch_size import read_batch_size


class Protocol(StrEnum):
    balanced = "balanced"
    paper = "paper"


def probe(
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Folder for records and report; s3://... works too."),
    ] = "wheresight-probe",
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
            help="none, bapa, ... Repeat to compare several. Default: none and bapa.",
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="Image-caption pairs: pocket, folder:PATH, parquet:PATH, dataset:NAME[@split], "
            "webdataset:PATTERN."
        ),
    ] = "pocket",
    items: Annotated[int, typer.Option(help="Key images, each shown in every cell.")] = 200,
    protocol: Annotated[
        Protocol,
        typer.Option(help="balanced asks matched negatives too; paper asks positives only."),
    ] = Protocol.balanced,
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
    jitter: Annotated[
        int, typer.Option(help="Shift each item's grid by up to so many pixels (patch phase).")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of distractors, negatives and places.")] = 0,
    generate: Annotated[
        bool, typer.Option("--generate", help="Read generated text, not the first token's scores.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Longest generated answer.")] = 16,
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
    batch_size: Annotated[
        Any,
        typer.Option(
            parser=read_batch_size,
            metavar="N|auto",
            help="Questions in one forward pass; auto tries out what is fastest. Halved when "
            "memory runs out.",
        ),
    ] = 64,
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 2000,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Accept weights that are not safetensors.")
    ] = False,
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
        interventions=interventions_of(intervention, adapter, ["none", "bapa"]),
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
