"""SQL over a run's records: DuckDB, which sees the records and nothing else of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wheresight.errors import RunError
from wheresight.runs.store import RunFolder

VIEW = "records"
_ROWS_AT_ONCE = 1000
# Before the statement is read: no files, network, extensions or variables of this process, and no
# way to turn any of it on again. Nothing is spilled to a disk either.
_LOCKS = (
    "SET temp_directory = ''",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


@dataclass(frozen=True)
class Found:
    """What a query found: names of columns, and rows to be read once."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def query(folder: RunFolder, sql: str) -> Found:
    """Ask one SELECT of a run's records.

    The view `records` has the columns of `wheresight.runs.records`, from parts whose hashes were
    checked. Its rows are by item, cell, question and intervention; a result has no order but that
    of its own ORDER BY.

    Raises:
        RunError: no run or a damaged part; SQL that is wrong, or more than one SELECT; anything
            that would read or write outside the records.
    """
    import duckdb

    records = folder.read()
    connection = duckdb.connect(":memory:")
    for lock in _LOCKS:
        if lock.startswith("SET enable_external_access"):
            connection.register(VIEW, records)
        connection.execute(lock)
    try:
        statements = connection.extract_statements(sql)
        readers = (
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
            duckdb.StatementType.MULTI,  # what PIVOT becomes
        )
        if len(statements) != 1 or statements[0].type not in readers:
            raise RunError(
                f"The query {sql!r} is not one SELECT. Expected one statement that reads from the "
                f"view {VIEW!r}, such as: SELECT cell, avg(margin) FROM records GROUP BY cell."
            )
        result = connection.execute(statements[0])
    except duckdb.Error as error:
        raise _refusal(error) from None
    columns = tuple(column[0] for column in result.description or ())
    return Found(columns, _rows(result, duckdb.Error))


def _rows(result: Any, failure: type[Exception]) -> Iterator[tuple[Any, ...]]:
    try:
        while rows := result.fetchmany(_ROWS_AT_ONCE):
            yield from rows
    except failure as error:
        raise _refusal(error) from None


def _refusal(error: Exception) -> RunError:
    # Behind the first blank line DuckDB repeats the statement with a caret under the place.
    reason = " ".join(str(error).partition("\n\n")[0].split())
    end = "" if reason.endswith((".", "?", "!")) else "."
    return RunError(
        f"The query was refused: {reason}{end} It may read the view {VIEW!r}, and no files, "
        "network or extensions."
    )
