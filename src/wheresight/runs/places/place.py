"""What a run asks of the place where its files lie."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from wheresight.errors import RunError

_URL = re.compile(r"([a-z][a-z0-9+.-]*)(?:://|::.*://)", re.IGNORECASE)


class Place(Protocol):
    """Small files under names with `/` in them, each whole or absent.

    Attributes:
        name: as the user gave it.
        shared: can other processes see it?
    """

    name: str
    shared: bool

    def uri(self, name: str) -> str:
        """The address of a file for people and browsers."""

    def everywhere(self) -> str:
        """What opens the same place in another process."""

    def label(self, name: str) -> str:
        """A file's name in messages."""

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError if there is none."""

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Names with their bytes, in order; None for a file that has just gone."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that its bytes are all there or not at all, and stay."""

    def names(self, folder: str = "") -> list[str]:
        """The files and folders in a folder, sorted, by last name; empty if it is absent."""

    def move(self, name: str, to: str) -> None:
        """Rename a file; nothing happens if it has gone."""

    def clear(self) -> None:
        """Remove what writers that no longer live have left half written."""

    def refuse_file(self) -> None:
        """RunError if the place itself is a file."""

    def hold(self, party: str, member: str) -> AbstractContextManager[bool]:
        """Hold the place for one party of writers; say whether no other member is at work.

        Raises:
            RunError: at once, if another party, or this member, is at work here. A store that
                cannot lock always lets one in and always says False.
        """

    def claim(self, what: str) -> AbstractContextManager[bool]:
        """Do something alone: True, or False if another process is at it. Always True in a store,
        so what is done must bear being done twice."""

    def hold_briefly(self) -> AbstractContextManager[None]:
        """Keep other writers waiting while the manifest is looked at and written."""

    def folder(self) -> AbstractContextManager[Path]:
        """A local folder for files that are made by path; they are in the place afterwards."""


def open_place(where: str | os.PathLike[str]) -> Place:
    """A local folder (also as file://), or the store behind an fsspec URL such as s3://a/b.

    Raises:
        RunError: unknown protocol, or the package that serves it is not installed.
    """
    text = os.fspath(where)
    match = _URL.match(text)
    if match is None or match[1].lower() in ("file", "local"):
        from wheresight.runs.places.local import LocalFolder

        return LocalFolder(Path(unquote(text[match.end() :]) if match else text))
    from wheresight.runs.places.store import Store

    return Store(text)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn a disk's or a store's errors into one sentence each."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"The disk under {name!r} is full. Finished records are safe: free some "
                "space and repeat the same command, which goes on where it stopped."
            ) from None
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise RunError(
                f"The output {name!r} cannot be made: something on the way to it is a file. "
                "Choose another --out."
            ) from None
        reason = error.strerror or first_line(error)
        raise RunError(
            f"The output folder {name!r} cannot be written ({reason}). Choose another --out."
        ) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
