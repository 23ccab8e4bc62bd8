"""A store behind an fsspec URL: s3, gs, abfs, memory, sftp, hdfs and what else fsspec knows.

What keeps records right here does not need a lock, because most object stores have none that ends
when its holder dies:

- An object store takes a file in one request, whole or not at all; what it holds is read back
  once and compared. A store of files (sftp, hdfs, smb) gets a temporary name and a rename.
- A part's name says what decides its records and what its bytes are, so two writers of one unit
  write the same thing, and where their machines round differently one of the two is counted.
- A part says which run it belongs to, and a run looks whose the folder is before each part.

So two runs that start in one place at the same moment lose time, not records: if they are the same
run, both do all of the work; if they differ, the later one to say so keeps the place and the other
stops at its next part.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from wheresight.errors import RunError
from wheresight.runs.places.place import explained, first_line

# Stores of files, whose rename is one step; in all others a file is put whole in one request.
_RENAMES = {"sftp", "ssh", "hdfs", "webhdfs", "smb", "arrow_hdfs"}
_READ_AT_ONCE = 128


class Store:
    """See Place.

    Args:
        url: an fsspec URL; credentials and the server's address come from the environment or from
            fsspec's configuration files, as fsspec documents.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.name = url.rstrip("/")
        if self.name.endswith(":"):
            raise RunError(f"The output {url!r} names no place. Expected such as s3://bucket/run.")
        try:
            self._files, self._root = fsspec.url_to_fs(self.name, use_listings_cache=False)
        except ImportError as error:
            raise RunError(
                f"The output {url!r} needs a package that is not installed ({first_line(error)}). "
                "s3:// needs s3fs, gs:// needs gcsfs, abfs:// needs adlfs: install it with pip."
            ) from None
        except ValueError as error:
            raise RunError(
                f"The output {url!r} cannot be opened ({first_line(error)}). Expected a folder, or "
                "a URL that fsspec knows, such as s3://bucket/folder."
            ) from None
        given = self._files.protocol
        protocols = {given} if isinstance(given, str) else set(given)
        self._renames = bool(protocols & _RENAMES)
        self.shared = "memory" not in protocols

    def uri(self, name: str) -> str:
        return f"{self.name}/{name}"

    label = uri

    def everywhere(self) -> str:
        return self.name

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes:
        with self._said(missing=True):
            data: bytes = self._files.cat_file(self._at(name))
            return data

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        left = iter(names)
        while some := list(islice(left, _READ_AT_ONCE)):
            with self._said():
                got: Any = self._files.cat([self._at(name) for name in some], on_error="return")
            for name in some:
                try:
                    data = got.get(self._at(name))
                    # Asked again by itself, an error is reported as everywhere.
                    whole = isinstance(data, bytes)
                    yield name, data if whole else self.read(name)
                except FileNotFoundError:
                    yield name, None

    def write(self, name: str, data: bytes) -> None:
        final = self._at(name)
        with self._said():
            if self._renames:
                path = PurePosixPath(final)
                temporary = str(path.with_name(f".{path.name}.{os.getpid()}.tmp"))
                self._files.makedirs(str(path.parent), exist_ok=True)
                try:
                    self._files.pipe_file(temporary, data)
                    self._check(temporary, data)
                    self._files.mv(temporary, final)
                finally:
                    with suppress(FileNotFoundError):
                        self._files.rm_file(temporary)
            else:
                self._files.pipe_file(final, data)
                self._check(final, data)

    def _check(self, path: str, data: bytes) -> None:
        if self._files.cat_file(path) != data:
            raise OSError(f"{path} does not read back as it was written")

    def names(self, folder: str = "") -> list[str]:
        where = self._at(folder)
        with self._said():
            try:
                self._files.invalidate_cache(where)
                found = self._files.ls(where, detail=False)
            except FileNotFoundError:
                return []
        names = {str(path).rstrip("/").rsplit("/", 1)[-1] for path in found}
        # Some stores keep an empty object in the name of the folder itself.
        return sorted(names - {where.rsplit("/", 1)[-1]})

    def move(self, name: str, to: str) -> None:
        with self._said(), suppress(FileNotFoundError):
            self._files.mv(self._at(name), self._at(to))

    def clear(self) -> None:
        """Nothing: an object store keeps nothing half written, and others may be writing."""

    def refuse_file(self) -> None:
        with self._said():
            if self._files.isfile(self._root):
                raise RunError(
                    f"The output {self.name!r} is a file; expected a folder, new or of this same "
                    "run. Choose another --out."
                )

    @contextmanager
    def hold(self, party: str, member: str) -> Iterator[bool]:
        self.refuse_file()
        yield False

    @contextmanager
    def claim(self, what: str) -> Iterator[bool]:
        yield True

    @contextmanager
    def hold_briefly(self) -> Iterator[None]:
        yield

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A temporary folder; its files are put into the store, those at the top last."""
        with tempfile.TemporaryDirectory(prefix="wheresight-") as made:
            folder = Path(made)
            yield folder
            files = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
            for file in sorted(files, key=lambda file: -len(file.parts)):
                self.write(file.as_posix(), (folder / file).read_bytes())

    @contextmanager
    def _said(self, missing: bool = False) -> Iterator[None]:
        """Turn what stores raise, which is not always an OSError, into one sentence."""
        try:
            with explained(self.name):
                try:
                    yield
                except FileNotFoundError:
                    if not missing:
                        raise
                    absent = True
                else:
                    absent = False
        except (RunError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise _refused(self.name, error) from None
        if absent:
            raise FileNotFoundError(self.name)


def _refused(name: str, error: Exception) -> RunError:
    return RunError(
        f"The output {name!r} cannot be reached ({type(error).__name__}: {first_line(error)}). "
        "Check the address and the credentials, which fsspec takes from the environment."
    )
