"""Read what the user's folder holds: tables of any usual kind, and pictures beside them."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli import images
from wheresight.stimuli.recent import Recent

KEPT_BYTES = 64 * 2**20

Rows = list[dict[str, Any]]


def find(folder: Path, names: Sequence[str], what: str, where_from: str) -> Path:
    """The first of some files that is in a folder.

    Raises:
        StimulusError: if none is; the message says where to get them.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    state = "has none of them" if folder.is_dir() else "does not exist"
    raise StimulusError(
        f"{what} needs the file {' or '.join(names)}, and the folder {str(folder)!r} {state}. "
        f"{where_from}"
    )


def read_json_list(path: Path) -> list[Any]:
    """The items of a JSON file that holds one list.

    Raises:
        StimulusError: if it holds something else, or is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error, "one JSON list, in UTF-8") from None
    if not isinstance(found, list):
        raise _unreadable(path, f"it holds a {type(found).__name__}", "one JSON list")
    return found


def read_table(path: Path) -> Rows:
    """Rows of a .jsonl, .csv, .parquet or .json (list of objects) file as dictionaries.

    Raises:
        StimulusError: if there is no such file, its kind is unknown, or it is damaged.
    """
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".json": _json}
    reader = readers.get(path.suffix.lower())
    if reader is None or not path.is_file():
        state = "is of another kind" if path.is_file() else "is no file"
        raise StimulusError(
            f"{str(path)!r} {state}. Expected a {', '.join(readers)} file with one question a row."
        )
    return reader(path)


def _jsonl(path: Path) -> Rows:
    rows: Rows = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(_row(json.loads(line), f"line {number}"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error, "one JSON object per line, in UTF-8") from None
    return rows


def _json(path: Path) -> Rows:
    found = read_json_list(path)
    try:
        return [_row(row, f"item {number}") for number, row in enumerate(found)]
    except ValueError as error:
        raise _unreadable(path, error, "a list of JSON objects") from None


def _csv(path: Path) -> Rows:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return list(csv.DictReader(lines, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error, "comma-separated values with a header, UTF-8") from None


def _parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: Rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error, "a whole Parquet file") from None
    return rows


def _row(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{where} is no object")
    return found


def _unreadable(path: Path, why: object, expected: str) -> StimulusError:
    reason = " ".join(str(why).split()).rstrip(".:")[:200]
    return StimulusError(f"{str(path)!r} cannot be read: {reason}. Expected {expected}.")


def inside(name: object, where: str) -> str:
    """The name of a file, if it stays in its folder.

    Raises:
        StimulusError: if it is no name, or leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip():
        raise StimulusError(f"{where} names no image (found {name!r}). Expected a file's name.")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise StimulusError(
            f"{where} names the image {name!r}, which is outside of its folder. Expected a name "
            "such as images/a.jpg."
        )
    return str(path)


class Pictures:
    """Picture files in a folder, decoded when they are asked for.

    Args:
        folder: where they are.
        where_from: a sentence for those who do not have them.
    """

    def __init__(self, folder: Path, where_from: str = "") -> None:
        self.folder = folder
        self.where_from = where_from
        self._kept = Recent(self._decode, lambda seen: 3 * seen.width * seen.height, KEPT_BYTES)

    def __getitem__(self, name: str) -> Image.Image:
        """One picture, RGB, upright, at full size.

        Raises:
            StimulusError: if it is not there, or cannot be used.
        """
        return self._kept[name]

    def _decode(self, name: str) -> Image.Image:
        path = self.folder / name
        if self.where_from and not path.is_file():
            raise StimulusError(f"There is no image {str(path)!r}. {self.where_from}")
        return images.decode(images.read_file(path, name), name)


def digest(*parts: str) -> str:
    """A hash of texts, 32 hex digits."""
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{len(part)}:{part}".encode())
    return total.hexdigest()[:32]
