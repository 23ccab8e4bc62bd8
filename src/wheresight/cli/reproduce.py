"""`wheresight reproduce`: tables and figures of three papers, with their commands and numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from wheresight.cli.names import complete_entry, complete_model

if TYPE_CHECKING:
    from wheresight.reproduce import Entry


def reproduce(
    name: Annotated[
        list[str] | None,
        typer.Argument(
            help="bias/table1, awareness/psi, ..., or a paper: bias, awareness, scaling. None: "
            "list all.",
            metavar="NAME",
            autocompletion=complete_entry,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Run it with this model: pocket (small, here and now), a folder, or a hub id. "
            "Default: show what is printed and the commands, and run nothing.",
            autocompletion=complete_model,
        ),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder; every table and model has its own in it.")
    ] = "wheresight-reproduce",
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="NAME=VALUE: what a table needs (source=parquet:FILE, ...), or another value for "
            "one of its own (items=1000, ...). Repeat for several.",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Time and memory of the paper's models on this machine; nothing is downloaded or "
            "run.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print entries or plans as JSON, for programs.")
    ] = False,
) -> None:
    """Show or run the tables and figures of three papers: what is printed beside what is measured.

    Without a name all are listed; with one, its numbers, misprints and commands are shown. With
    --model its commands are run; the same command again goes on where it stopped.
    """
    from wheresight.errors import RunError
    from wheresight.reproduce import entries, find

    if model is not None and plan:
        raise RunError("Both --model and --plan were given; expected one of them.")
    if not name and (model is not None or plan):
        raise RunError(
            "No table or figure was named; expected one or more, or a paper: bias, awareness, "
            "scaling. `wheresight reproduce` lists all."
        )
    chosen = find(name) if name else list(entries().values())
    if plan:
        _plan(chosen, as_json)
    elif model is not None:
        _run(chosen, model, out, _pairs(given or []), len(name or []))
    elif as_json:
        typer.echo(json.dumps([one.model_dump() for one in chosen], indent=1, ensure_ascii=False))
    else:
        from rich.console import Console

        from wheresight.reproduce.terminal import print_entry, print_list

        console = Console(highlight=False)
        if name:
            for one in chosen:
                print_entry(one, console)
        else:
            print_list(chosen, console)


def _pairs(given: list[str]) -> dict[str, str]:
    from wheresight.errors import RunError

    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not (key and equals and value):
            raise RunError(f"--set {one} was given; expected NAME=VALUE, such as items=1000.")
        found[key] = value
    return found


def _run(chosen: list[Entry], model: str, out: str, given: dict[str, str], names: int) -> None:
    from pathlib import Path

    from rich.console import Console
    from rich.markup import escape

    from wheresight.errors import RunError
    from wheresight.reproduce.markdown import PAGE, page
    from wheresight.reproduce.run import POCKET, job, run
    from wheresight.reproduce.terminal import print_reproduced

    console = Console(highlight=False)
    ready = [one for one in chosen if (work := one.work(model == POCKET)) and work.commands]
    if len(ready) < len(chosen) and (not ready or len(chosen) == names):
        ready = chosen  # what was asked for by name and cannot be run says why
    jobs = [job(one, model, out, given) for one in ready]  # all is checked before any is run
    for one in jobs:
        console.print(f"\n[bold]{one.entry.name}[/]  {escape(one.entry.title)}")
        found = run(one, lambda text: console.print(f"[dim]·[/] {escape(text)}", soft_wrap=True))
        (one.folder / PAGE).write_text(page(found), encoding="utf-8")
        print_reproduced(found, console)
        console.print(f"Numbers and page: {escape(str(one.folder))}", soft_wrap=True)
    if not jobs:
        raise RunError("Nothing was run.")
    if len(jobs) > 1:
        console.print(f"\n{len(jobs)} tables and figures: {escape(str(Path(out)))}")
    left = [one.name for one in chosen if one not in ready]
    if left:
        console.print(f"Nothing to run with {escape(model)}: {', '.join(left)}.")


def _plan(chosen: list[Entry], as_json: bool) -> None:
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.reproduce.plan import plans
    from wheresight.reproduce.terminal import print_plans

    console = Console(highlight=False)
    found = plans(chosen, ConsoleProgress(Console(stderr=True)))
    if as_json:
        typer.echo(json.dumps([one.model_dump() for one in found], indent=1))
    else:
        print_plans(found, console)
