"""Parquet files whose names end in a hash of their bytes: `STEM-SHA.parquet` among the records."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from wheresight.runs.parquet_bytes import digest, to_bytes
from wheresight.runs.places import Place
from wheresight.runs.store import RECORDS


def write_table(place: Place, stem: str, table: pa.Table) -> None:
    """Write a table so that it is all there or not at all."""
    data = to_bytes(table)
    place.write(f"{RECORDS}/{stem}-{digest(data)}.parquet", data)


def files_of(place: Place, stem: str) -> Sequence[str]:
    """The files of a stem, whole or not."""
    names = place.names(RECORDS)
    return [
        f"{RECORDS}/{name}"
        for name in names
        if name.startswith(f"{stem}-") and name.endswith(".parquet")
    ]


def is_whole(name: str, data: bytes) -> bool:
    """Are these the bytes that a file was named for?"""
    return digest(data) == name.removesuffix(".parquet")[-16:]


def find_whole(place: Place, stem: str) -> str | None:
    """The file of a stem, if it is there and whole; a damaged one is set aside."""
    for name in files_of(place, stem):
        if is_whole(name, place.read(name)):
            return name
        place.move(name, f"{name}.damaged")
    return None
