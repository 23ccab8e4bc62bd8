"""A file of conversations (JSON, JSON lines or Parquet) with its pictures, drawn by a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli import images
from wheresight.training.conversations import Conversation, conversation_of

if TYPE_CHECKING:
    import pyarrow as pa

_USED = ("id", "conversations", "image", "messages", "images")


class _Rows(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


class Corpus:
    """A file of conversations with the folder of their pictures.

    Args:
        path: a .json file that holds a list, .jsonl or .parquet; the rows are in LLaVA's or in
            TRL's form (see `conversation_of`).
        folder: where pictures that are named by a path lie; may be None if there are none.

    Attributes:
        fingerprint: hash of the file's bytes.

    Raises:
        StimulusError: no such file, another kind, damaged, or without rows.
    """

    def __init__(self, path: str | Path, folder: str | Path | None = None) -> None:
        self.path = Path(path).expanduser()
        self.folder = None if folder is None else Path(folder).expanduser()
        if self.folder is not None and not self.folder.is_dir():
            raise StimulusError(
                f"The folder of images {str(self.folder)!r} does not exist. Expected the folder "
                "in which the files lie that the data names."
            )
        readers: dict[str, Callable[[Path], _Rows]] = {
            ".json": _read_json,
            ".jsonl": _read_lines,
            ".parquet": _read_parquet,
        }
        reader = readers.get(self.path.suffix.lower())
        if reader is None or not self.path.is_file():
            state = "is of another kind" if self.path.is_file() else "is no file"
            raise StimulusError(
                f"The data {str(self.path)!r} {state}. Expected conversations in a .json (a list), "
                ".jsonl or .parquet file."
            )
        self._rows: _Rows = reader(self.path)
        if not len(self._rows):
            raise StimulusError(f"The data {str(self.path)!r} has no rows.")
        with self.path.open("rb") as stream:
            self.fingerprint = hashlib.file_digest(stream, "sha256").hexdigest()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Conversation:
        """The conversation of a row, counted from 0; StimulusError if it cannot be used."""
        row = self._rows[index]
        own = row.get("id") if isinstance(row, dict) else None
        name = f"Row {index:,} of {self.path.name}" + (f" (id {own!r})" if own is not None else "")
        return conversation_of(row, name)

    def pictures(self, conversation: Conversation) -> list[Image.Image]:
        """The pictures of a conversation, RGB.

        Raises:
            StimulusError: one that is missing, damaged, or of a kind that cannot be read.
        """
        return [
            images.decode(self.picture_bytes(one, conversation.name), conversation.name)
            for one in conversation.pictures
        ]

    def picture_bytes(self, one: str | bytes, name: str) -> bytes:
        """A picture as it is stored."""
        if isinstance(one, bytes):
            return one
        if self.folder is None:
            raise StimulusError(
                f"{name} names the picture {one!r}, and no folder of images was given (--images)."
            )
        # Names were checked; links that lie in the folder are the user's own.
        return images.read_file(self.folder / one, name)

    def draw(self, samples: int | None, seed: int) -> list[int]:
        """All rows in an order drawn from a seed; the first `samples` are those to train on.

        Raises:
            StimulusError: more samples than there are rows.
        """
        import numpy as np

        if samples is not None and samples > len(self):
            raise StimulusError(
                f"{samples:,} samples were asked for, and {str(self.path)!r} has {len(self):,} "
                "rows. Ask for fewer, or leave --samples out for all of them."
            )
        order: list[int] = np.random.default_rng(seed).permutation(len(self)).tolist()
        return order


def _read_json(path: Path) -> list[Any]:
    try:
        with path.open(encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error, "one JSON list of conversations, in UTF-8") from None
    if not isinstance(found, list):
        raise _unreadable(path, f"it holds a {type(found).__name__}", "one JSON list")
    return found


def _read_lines(path: Path) -> list[Any]:
    rows = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        rows.append(json.loads(line))
                    except (ValueError, RecursionError) as error:
                        raise ValueError(f"line {number}: {error}") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, "one JSON object per line, in UTF-8") from None
    return rows


class _Table:
    """Rows of a Parquet file, each made when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self._table.slice(index, 1).to_pylist()[0]
        return row


def _read_parquet(path: Path) -> _Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: Sequence[str] = pq.read_schema(path).names
        used = [name for name in _USED if name in names]
        return _Table(pq.read_table(path, columns=used or None, memory_map=True))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error, "a whole Parquet file") from None


def _unreadable(path: Path, why: object, expected: str) -> StimulusError:
    reason = " ".join(str(why).split()).rstrip(".:")[:200]
    return StimulusError(f"The data {str(path)!r} cannot be read: {reason}. Expected {expected}.")
