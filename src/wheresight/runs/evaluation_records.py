"""The records of an evaluation: one Parquet file for some questions under one intervention."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from wheresight.errors import RunError
from wheresight.probes.evaluate import Evaluated
from wheresight.runs.hashed_records import files_of, find_whole, is_whole, write_table
from wheresight.runs.parquet_bytes import from_bytes
from wheresight.runs.places import Place

SCHEMA = 1
_COLUMNS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("control", pa.string()),
        ("question", pa.string()),
        ("cluster", pa.string()),
        ("category", pa.string()),
        ("group", pa.string()),
        ("group_size", pa.int32()),
        ("pair", pa.string()),
        ("prompt", pa.string()),
        ("letters", pa.bool_()),
        ("options", pa.list_(pa.string())),
        ("right", pa.int32()),
        ("present", pa.float64()),
        ("picture", pa.string()),
        ("intervention", pa.string()),
        ("intervention_json", pa.string()),
        ("logp", pa.list_(pa.float64())),
        ("mean_logp", pa.list_(pa.float64())),
        ("ended", pa.bool_()),
        ("confidence", pa.float64()),
        ("text", pa.string()),
    ]
)


def write(place: Place, unit: str, records: Sequence[Evaluated]) -> None:
    """Write a unit's records, all or none."""
    rows = [dict(record) for record in records]
    write_table(place, unit, pa.Table.from_pylist(rows, schema=_COLUMNS))


def read_if_there(place: Place, unit: str) -> list[Evaluated]:
    """Read a unit's records; none if they are not there, or damaged. Nothing is set aside."""
    for name in files_of(place, unit):
        data = place.read(name)
        if is_whole(name, data):
            rows: list[Evaluated] = from_bytes(data).to_pylist()
            return rows
    return []


def read(place: Place, unit: str) -> list[Evaluated]:
    """Read a unit's records.

    Raises:
        RunError: if they are missing or damaged.
    """
    name = find_whole(place, unit)
    if name is None:
        raise RunError(
            f"Records are missing in {place.name!r}, or damaged (unit {unit}). Repeat the command "
            "that made them; it computes what is missing."
        )
    table = from_bytes(place.read(name))
    rows: list[Evaluated] = table.to_pylist()
    return rows
