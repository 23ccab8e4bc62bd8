"""Parquet files in memory: records are written and checked as whole bytes."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq


def to_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, compression="zstd")
    data: bytes = stream.getvalue().to_pybytes()
    return data


def from_bytes(data: bytes) -> pa.Table:
    """The table that a Parquet file holds.

    Raises:
        pyarrow.ArrowException, OSError: if the bytes are no Parquet file.
    """
    # Without Arrow's threads: one that lets go of Python's bytes while the interpreter ends kills
    # the process, whatever its exit code was to be. A command that refuses damaged records ends
    # right after it has read some.
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def digest(data: bytes) -> str:
    """What a file of records is named for: the beginning of its bytes' SHA-256, 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]
