"""`wheresight export`: a run's records in another tool's form."""

from __future__ import annotations

from typing import Annotated

import typer


def export(
    folder: Annotated[str, typer.Argument(help="A folder that `wheresight probe --out` wrote.")],
    format: Annotated[
        str, typer.Option("--format", help="lmms-eval: JSONL samples as its --log_samples writes.")
    ] = "lmms-eval",
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder to write. Default: FOLDER/FORMAT.")
    ] = None,
) -> None:
    """Write a run's records in another tool's form, one file for each intervention."""
    from wheresight.runs.export import export as write
    from wheresight.runs.store import RunFolder

    run = RunFolder(folder)
    for file in write(run, format, out or run.path / format):
        typer.echo(str(file))
