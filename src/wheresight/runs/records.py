"""The schema of records: one row per (item, cell, question, intervention). Records are the truth;
every number, table and picture is made from them without the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 2

RECORD_SCHEMA = pa.schema(
    [
        pa.field(
            "item",
            pa.string(),
            nullable=False,
            metadata={"doc": "id of the item: its key pair and seed"},
        ),
        pa.field(
            "key",
            pa.string(),
            nullable=False,
            metadata={"doc": "pair id of the key image; the cluster for inference"},
        ),
        pa.field(
            "cell",
            pa.int32(),
            nullable=False,
            metadata={"doc": "cell of the key, row-major from 0"},
        ),
        pa.field(
            "question", pa.string(), nullable=False, metadata={"doc": "positive, absent or sibling"}
        ),
        pa.field("intervention", pa.string(), nullable=False, metadata={"doc": "canonical spec"}),
        pa.field(
            "intervention_json",
            pa.string(),
            nullable=False,
            metadata={"doc": "the same as JSON, with every parameter's value, defaults too"},
        ),
        pa.field(
            "caption",
            pa.string(),
            nullable=False,
            metadata={"doc": "the caption that was asked for"},
        ),
        pa.field(
            "expected",
            pa.bool_(),
            nullable=False,
            metadata={"doc": "is the caption's picture in the composite"},
        ),
        pa.field(
            "margin",
            pa.float64(),
            nullable=False,
            metadata={"doc": "logsumexp of Yes spellings minus logsumexp of No spellings, nats"},
        ),
        pa.field(
            "argmax_id",
            pa.int32(),
            nullable=False,
            metadata={"doc": "first answer token, greedy over the whole vocabulary"},
        ),
        pa.field("argmax_token", pa.string(), nullable=False, metadata={"doc": "its text"}),
        pa.field("answer", pa.string(), nullable=False, metadata={"doc": "yes, no or neither"}),
        pa.field(
            "text",
            pa.string(),
            nullable=True,
            metadata={"doc": "generated text, with --generate only"},
        ),
        pa.field("recipe", pa.string(), nullable=False, metadata={"doc": "JSON of the composite"}),
        pa.field(
            "unit",
            pa.string(),
            nullable=False,
            metadata={"doc": "name of the work unit that wrote the row"},
        ),
    ],
    metadata={"wheresight_schema": str(SCHEMA_VERSION)},
)


def record_table(rows: Iterable[Mapping[str, Any]], unit: str) -> pa.Table:
    """Make a table of a probe's records, each marked with the work unit that made it."""
    return pa.Table.from_pylist([{**row, "unit": unit} for row in rows], schema=RECORD_SCHEMA)
