"""Records of diagnostics: one Parquet file for each diagnostic and intervention.

A file is called `NAME-UNIT-SHA.parquet`: UNIT says by hash what decides its content (the meaning of
the records, the diagnostic with every option's value, model, source, question, grid, seed, the
items or the questions of a benchmark, and the intervention with every parameter's value), SHA is a
hash of its bytes. So a folder may hold many runs and none is ever taken for another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple

import numpy as np
import pyarrow as pa

from wheresight.errors import RunError
from wheresight.interventions.spec import to_json
from wheresight.probes.diagnostic import Columns, Diagnostic, Records
from wheresight.probes.grid import GridProbe
from wheresight.runs.hashed_records import files_of, find_whole, is_whole, write_table
from wheresight.runs.parquet_bytes import from_bytes
from wheresight.runs.places import Place
from wheresight.runs.store import content_name
from wheresight.stimuli.benchmarks.question import Benchmark

SCHEMA_VERSION = 1


def unit_name(
    tool: Diagnostic, intervention: str, probe: GridProbe, benchmark: Benchmark | None = None
) -> str:
    """Name the records of a diagnostic under an intervention by what decides them."""
    decides = {
        "schema": SCHEMA_VERSION,
        "diagnostic": tool.to_json(),
        "version": tool.version,
        "settings": probe.settings.model_dump(mode="json"),
        "items": [astuple(item) for item in probe.items[: tool.wants()]],
        "intervention": json.dumps(to_json(intervention), sort_keys=True),
    }
    if benchmark is not None:
        # A fingerprint says nothing of boxes that stand beside the questions.
        boxes = [[list(box) for box in q.boxes] for q in benchmark.questions()]
        decides["benchmark"] = [benchmark.name, benchmark.fingerprint, boxes]
    return content_name(decides)


def table_of(tool: Diagnostic, columns: Columns) -> pa.Table:
    """Make the table of a diagnostic's records.

    Raises:
        RunError: if the columns are not those that the diagnostic declares, or differ in length.
    """
    if set(columns) != set(tool.columns):
        raise RunError(
            f"The diagnostic {tool.name!r} returned the columns {sorted(columns)}; it declares "
            f"{sorted(tool.columns)}. This is a fault of the diagnostic."
        )
    schema = pa.schema(
        pa.field(name, _type(column.kind), metadata={"meaning": column.meaning})
        for name, column in tool.columns.items()
    )
    try:
        arrays = [_array(columns[field.name], field.type) for field in schema]
        return pa.Table.from_arrays(arrays, schema=schema)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise RunError(
            f"The records of the diagnostic {tool.name!r} do not fit its columns ({error}). This "
            "is a fault of the diagnostic."
        ) from error


def write(place: Place, tool: Diagnostic, unit: str, columns: Columns) -> None:
    """Write the records of one unit so that they are all there or not at all."""
    write_table(place, f"{tool.name}-{unit}", table_of(tool, columns))


def find(place: Place, tool: Diagnostic, unit: str) -> str | None:
    """The file of a unit, if it is there and whole; a damaged one is set aside."""
    return find_whole(place, f"{tool.name}-{unit}")


def has(place: Place, tool: Diagnostic, unit: str) -> bool:
    """Is a file of a unit there? Nothing is read, and nothing set aside."""
    return bool(files_of(place, f"{tool.name}-{unit}"))


def read(place: Place, tool: Diagnostic, unit: str) -> tuple[str, Records]:
    """The file of a unit and its columns.

    Raises:
        RunError: if it is missing, or damaged.
    """
    for name in files_of(place, f"{tool.name}-{unit}"):
        data = place.read(name)
        if not is_whole(name, data):
            raise RunError(
                f"The records {place.label(name)!r} are damaged. Repeat the command that made "
                "them: it sets them aside and computes them again."
            )
        table = from_bytes(data)
        return name, {field.name: _numpy(table[field.name]) for field in table.schema}
    raise RunError(
        f"{place.name!r} has no records of the diagnostic {tool.name!r} as it is asked for. Repeat "
        "`wheresight diagnose` with the same options to make them."
    )


_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
}


def _type(kind: str) -> pa.DataType:
    inner = kind.removeprefix("list<").removesuffix(">")
    return _TYPES[kind] if inner == kind else pa.list_(_TYPES[inner])


def _array(values: Sequence[object] | np.ndarray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        rows = [np.asarray(row) for row in values]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
        flat = np.concatenate(rows) if rows else np.empty(0)
        return pa.ListArray.from_arrays(offsets, pa.array(flat).cast(kind.value_type))
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values).cast(kind)
    return pa.array(list(values), type=kind)


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    """A column as an array; lists of one length as (rows, n), others as an array of arrays."""
    if not pa.types.is_list(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    whole = column.combine_chunks()
    lengths = np.diff(whole.offsets.to_numpy())
    flat = whole.values.slice(whole.offsets[0].as_py() if len(whole) else 0).to_numpy()
    if len(lengths) and (lengths == lengths[0]).all():
        return np.asarray(flat).reshape(len(lengths), int(lengths[0]))
    found = np.empty(len(lengths), dtype=object)
    for n, row in enumerate(np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []):
        found[n] = row
    return found
