"""`wheresight query`: SQL over a run's records."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from wheresight.runs.query import Found


def query(
    folder: Annotated[str, typer.Argument(help="A folder that `wheresight probe --out` wrote.")],
    sql: Annotated[str, typer.Argument(help='One SELECT from the view "records".')],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all rows as one JSON list of objects.")
    ] = False,
    limit: Annotated[
        int, typer.Option(help="Most rows of the table; --csv and --json print all.")
    ] = 100,
) -> None:
    """Ask SQL (DuckDB) of a run's records: the view "records", and nothing else of this machine.

    Example: wheresight query study "SELECT intervention, cell, avg((answer = 'yes')::int) AS yes
    FROM records WHERE expected GROUP BY ALL ORDER BY ALL"
    """
    from wheresight.errors import RunError
    from wheresight.runs.query import query as ask
    from wheresight.runs.store import RunFolder

    if as_csv and as_json:
        raise RunError("Both --csv and --json were given; expected one of them.")
    if limit < 1:
        raise RunError(f"--limit {limit} was given; expected 1 or more.")
    found = ask(RunFolder(folder), sql)
    if as_csv:
        _print_csv(found)
    elif as_json:
        _print_json(found)
    else:
        _print_table(found, limit)


def _print_csv(found: Found) -> None:
    import csv
    import sys

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(found.columns)
    writer.writerows(found.rows)


def _print_json(found: Found) -> None:
    import json

    before = "["
    for row in found.rows:
        said = {name: _plain(value) for name, value in zip(found.columns, row, strict=True)}
        typer.echo(before + json.dumps(said, ensure_ascii=False, default=str), nl=False)
        before = ",\n "
    typer.echo("[]" if before == "[" else "]")


def _plain(value: Any) -> Any:
    """NaN and infinity are null: JSON has no other word for them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_table(found: Found, limit: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    rows = list(islice(found.rows, limit))
    table = Table()
    for n, name in enumerate(found.columns):
        numbers = all(isinstance(row[n], int | float) for row in rows if row[n] is not None)
        table.add_column(escape(name), justify="right" if rows and numbers else "left")
    for row in rows:
        table.add_row(*(escape(_shown(value)) for value in row))
    console.print(table)
    more = _count(found.rows)
    if more:
        console.print(f"{more:,} rows more; --limit, --csv and --json show them.")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _count(rows: Iterable[Any]) -> int:
    return sum(1 for _ in rows)
