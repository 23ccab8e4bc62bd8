"""`wheresight compare`: robustness and awareness of every intervention, side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wheresight.cli.options import (
    BootstrapSeed,
    Replicates,
)


def compare(
    folders: Annotated[
        list[str],
        typer.Argument(
            help="Folders that `wheresight probe` and `wheresight evaluate` wrote, at least one of "
            "each, all of one model.",
            metavar="PROBE_DIR EVAL_DIR...",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for numbers and page; s3://... works too.")
    ] = "wheresight-compare",
    reference: Annotated[
        str | None,
        typer.Option(
            help="Intervention that differences are to. Default: none, or the first that all have."
        ),
    ] = None,
    reader: Annotated[
        str,
        typer.Option(
            help="How answers are read: logp, mean_logp; after --max-new-tokens also exact, "
            "strict, first, last, letter, published."
        ),
    ] = "logp",
    replicates: Replicates = 2000,
    seed: BootstrapSeed = 0,
) -> None:
    """Put robustness and awareness of every intervention side by side; no model is loaded.

    Right at every place against knowing where, with paired differences from the reference and the
    Pareto front: compare.json, compare.html, plane.png.
    """
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.report.verdict.terminal import print_verdict
    from wheresight.runs.compare import CompareRequest, run_compare

    console = Console()
    request = CompareRequest(tuple(folders), out, reference, reader, replicates, seed)
    outcome = run_compare(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_verdict(outcome.verdict, console)
    console.print(f"\nNumbers and plane: {outcome.folder}", highlight=False, soft_wrap=True)
    console.print(f"Page: {outcome.page}", highlight=False, soft_wrap=True)
