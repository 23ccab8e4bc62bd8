"""SQL over records: numbers, forms of output, and all that is refused."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import warm_commands
from wheresight.errors import RunError
from wheresight.runs.query import query
from wheresight.runs.records import RECORD_SCHEMA, record_table
from wheresight.runs.store import RunFolder

# item, cell, intervention, margin; the positive of item a is missed in cell 1 under none.
ROWS = [
    ("a", 0, "none", 2.0),
    ("a", 1, "none", -1.0),
    ("b", 0, "none", 4.0),
    ("b", 1, "none", 3.0),
    ("a", 0, "bapa", 1.5),
    ("a", 1, "bapa", 0.5),
    ("b", 0, "bapa", 2.5),
    ("b", 1, "bapa", 3.5),
]


def record(item: str, cell: int, intervention: str, margin: float) -> dict[str, Any]:
    return {
        "item": item,
        "key": f"key of {item}",
        "cell": cell,
        "question": "positive",
        "intervention": intervention,
        "intervention_json": "[]",
        "caption": 'naïve [cat], "quoted"',
        "expected": True,
        "margin": margin,
        "argmax_id": 7,
        "argmax_token": "Yes" if margin > 0 else "No",
        "answer": "yes" if margin > 0 else "no",
        "text": None,
        "recipe": '{"cell": 0, "tile": 32}',
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("query") / "run"
    folder = RunFolder(path)
    folder.prepare({"model": "a"}, {"command": "probe"})
    for unit in ("none", "bapa"):
        rows = [record(*row) for row in ROWS if row[2] == unit]
        folder.write(unit, record_table(rows, unit))
    return path


def found(run: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(query(RunFolder(run), sql).rows)


def test_the_view_has_every_record_and_column(run: Path) -> None:
    everything = query(RunFolder(run), "SELECT * FROM records")
    assert everything.columns == tuple(RECORD_SCHEMA.names)
    rows = [dict(zip(everything.columns, row, strict=True)) for row in everything.rows]
    assert rows == RunFolder(run).read().to_pylist()


def test_numbers(run: Path) -> None:
    sql = (
        "SELECT intervention, cell, avg((answer = 'yes')::int), sum(margin) FROM records "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert found(run, sql) == [
        ("bapa", 0, 1.0, 4.0),
        ("bapa", 1, 1.0, 4.0),
        ("none", 0, 1.0, 6.0),
        ("none", 1, 0.5, 2.0),
    ]
    assert found(run, "SELECT json_extract(recipe, '$.tile')::int FROM records LIMIT 1") == [(32,)]
    pivot = "PIVOT records ON intervention USING max(margin) GROUP BY item ORDER BY item"
    assert found(run, pivot) == [("a", 1.5, 2.0), ("b", 3.5, 4.0)]
    many = "SELECT range FROM range(2500)"
    assert found(run, many) == [(n,) for n in range(2500)]


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("SELECT * FROM read_text('/etc/hostname')", "file system operations are disabled"),
        ("SELECT * FROM read_parquet('s3://bucket/x.parquet')", "disabled"),
        ("SELECT * FROM glob('/*')", "file system operations are disabled"),
        ("SELECT getenv('HOME')", "does not exist"),
        ("SELECT * FROM ROWS", "does not exist"),
        ("SELECT * FROM duckdb_secrets(), nowhere", "does not exist"),
        ("COPY records TO '/tmp/stolen.csv'", "is not one SELECT"),
        ("ATTACH '/tmp/other.db'", "is not one SELECT"),
        ("INSTALL httpfs", "is not one SELECT"),
        ("SET enable_external_access = true", "is not one SELECT"),
        ("CREATE TABLE t AS SELECT 1", "is not one SELECT"),
        ("DROP VIEW records", "is not one SELECT"),
        ("EXPORT DATABASE '/tmp/stolen'", "is not one SELECT"),
        ("SELECT 1; SELECT 2", "is not one SELECT"),
        ("", "is not one SELECT"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT nope FROM records", 'Referenced column "nope" not found'),
        ("SELECT error('stop') FROM records", "stop"),
        ("SELECT caption::int FROM records", "Could not convert"),
    ],
)
def test_what_is_refused(run: Path, sql: str, sentence: str) -> None:
    before = sorted(run.rglob("*"))
    with pytest.raises(RunError) as raised:
        found(run, sql)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(run.rglob("*")) == before
    assert not Path("/tmp/stolen.csv").exists() and not Path("/tmp/stolen").exists()


def test_a_part_that_was_changed_is_named(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare({"model": "a"}, {"command": "probe"})
    folder.write("unit", record_table([record(*ROWS[0])], "unit"))
    (part,) = (tmp_path / "run" / "records").glob("*.parquet")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(RunError, match=part.name):
        query(RunFolder(tmp_path / "run"), "SELECT 1")
    with pytest.raises(RunError, match="holds no run"):
        query(RunFolder(tmp_path / "nothing"), "SELECT 1")


wheresight = partial(warm_commands.wheresight, COLUMNS="120")


def test_the_command_prints_a_table_csv_and_json(run: Path) -> None:
    sql = "SELECT item, caption, margin, text FROM records WHERE cell = 1 ORDER BY margin"
    table = wheresight("query", str(run), sql, "--limit", "3")
    assert table.returncode == 0
    assert 'naïve [cat], "quoted"' in table.stdout and "1 rows more" in table.stdout
    assert table.stdout.index(" -1 ") < table.stdout.index(" 0.5 ") < table.stdout.index(" 3 ")

    printed = wheresight("query", str(run), sql, "--csv")
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [row["margin"] for row in rows] == ["-1.0", "0.5", "3.0", "3.5"]
    assert rows[0]["caption"] == 'naïve [cat], "quoted"' and rows[0]["text"] == ""

    odd = "SELECT margin, 'nan'::double AS n, [1, 2] AS l, DATE '2026-01-02' AS d FROM records"
    printed = wheresight("query", str(run), odd + " LIMIT 2", "--json")
    assert [list(row) for row in json.loads(printed.stdout)] == [["margin", "n", "l", "d"]] * 2
    assert json.loads(printed.stdout)[0] == {
        "margin": 1.5,
        "n": None,
        "l": [1, 2],
        "d": "2026-01-02",
    }
    assert json.loads(wheresight("query", str(run), sql + " LIMIT 0", "--json").stdout) == []


def test_the_command_refuses_in_one_sentence(run: Path) -> None:
    for arguments in (("SELECT * FROM 'x.csv'",), ("SELECT 1", "--csv", "--json")):
        done = wheresight("query", str(run), *arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
        assert done.stdout == ""
