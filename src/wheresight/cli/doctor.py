"""`wheresight doctor`: what is installed, what this machine has, and whether it all works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wheresight.checkup import Checkup


def doctor(
    online: Annotated[
        bool, typer.Option("--online", help="Ask too whether the model hub can be reached.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what is installed, which extras, devices and model families, and try the pocket model.

    Exit code 0 if wheresight can be used here, 1 if it cannot.
    """
    from rich.console import Console

    from wheresight.checkup import check_up

    err = Console(stderr=True, highlight=False)
    with err.status("Looking around"):
        found = check_up(online=online)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        _print(found)
    if not found.usable:
        raise typer.Exit(1)


def _print(found: Checkup) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"[bold]wheresight {found.wheresight}[/], Python {found.python}, {escape(found.system)}"
    )

    def table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
        console.print(f"\n[bold]{title}[/]")
        grid = Table.grid(padding=(0, 2, 0, 0))
        for row in rows:
            grid.add_row("", *(escape(cell) for cell in row))
        console.print(grid)

    table("Packages", [(one.name, one.version or "missing", one.problem) for one in found.packages])
    table(
        "Extras",
        [
            (one.name, "there" if not one.missing else "not installed", one.what, one.install)
            for one in found.extras
        ],
    )
    table(
        "Devices",
        [(one.name, f"{one.memory_bytes / 1e9:.0f} GB", one.can) for one in found.devices],
    )
    table(
        f"Model families with transformers {found.version_of('transformers')}",
        [
            (one.name, "works" if not one.problem else "does not work", one.problem)
            for one in found.families
        ],
    )
    rows = [(one.name, "yes" if one.ok else "no", one.said) for one in found.checks]
    table("Checks", rows)
    said = "[green]Usable.[/]" if found.usable else "[red]Not usable:[/] see what is missing above."
    console.print(f"\n{said}")
