"""`wheresight report`: results and pictures again from records, without a model."""

from __future__ import annotations

from typing import Annotated

import typer

from wheresight.cli.options import (
    Replicates,
)


def report(
    folder: Annotated[
        str,
        typer.Argument(help="A folder that `wheresight probe`, `diagnose` or `evaluate` wrote."),
    ],
    replicates: Replicates = 2000,
) -> None:
    """Make results and page again from a folder's records; no model is loaded."""
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.report.diagnostics.terminal import print_diagnosis
    from wheresight.report.evaluation.terminal import print_evaluation
    from wheresight.report.terminal import print_results
    from wheresight.runs import evaluate
    from wheresight.runs.diagnose import holds_diagnoses, redraw
    from wheresight.runs.outcome import summarise_folder
    from wheresight.runs.store import RunFolder

    console = Console()
    if holds_diagnoses(folder):
        diagnosis, page = redraw(folder, replicates=replicates, progress=ConsoleProgress(console))
        print_diagnosis(diagnosis, console)
        console.print(f"\nReport: {page}", highlight=False, soft_wrap=True)
        return
    if evaluate.holds_evaluation(folder):
        found = evaluate.redraw(folder, replicates=replicates, progress=ConsoleProgress(console))
        print_evaluation(found, console)
        console.print(f"\nReport: {evaluate.page_of(folder)}", highlight=False, soft_wrap=True)
        return
    run = RunFolder(folder)
    run.manifest()
    with run.lock():
        results, page = summarise_folder(
            run, replicates=replicates, progress=ConsoleProgress(console)
        )
    print_results(results, console)
    console.print(f"\nReport: {page}", highlight=False, soft_wrap=True)
