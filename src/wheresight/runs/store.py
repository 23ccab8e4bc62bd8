"""A run's folder: what run it holds, and its records in Parquet parts.

    DIR/run.json               what decides the numbers (the identity), and the last request
    DIR/records/UNIT-SHA.parquet   one part per finished work unit: the unit's name, which says
                               what decides its records, and a hash of the file itself
    DIR/results.json, report.html, figures/    made from the parts; can be made again

A part is written under a temporary name and renamed, so a part that exists is whole. A part whose
bytes no longer have the hash in its name is named, set aside and computed again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from wheresight.errors import RunError
from wheresight.runs.records import RECORD_SCHEMA, SCHEMA_VERSION


def content_name(content: Mapping[str, Any]) -> str:
    """Name something by what decides it: the first 16 hex digits of a hash of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunFolder:
    """Open an output folder for one run identity, or for reading alone.

    Args:
        path: the folder; made if absent.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.parts = self.path / "records"

    @property
    def _manifest_file(self) -> Path:
        return self.path / "run.json"

    def manifest(self) -> dict[str, Any]:
        """What run.json says: `schema_version`, `identity`, `request`, and `environment`, where
        records were last computed (null before that).

        Raises:
            RunError: if the folder or the file is missing, unreadable, or of another version.
        """
        if not self._manifest_file.is_file():
            raise RunError(
                f"{str(self.path)!r} holds no run (there is no run.json). Expected a folder that "
                "`wheresight probe --out DIR` wrote."
            )
        try:
            found: dict[str, Any] = json.loads(self._manifest_file.read_text(encoding="utf-8"))
            version = found["schema_version"]
            _ = found["identity"], found["request"], found["environment"]
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{str(self._manifest_file)!r} is damaged: it is not the JSON that wheresight "
                "writes. The records beside it are untouched; repeat the run with another --out."
            ) from None
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{str(self.path)!r} was written with record schema {version}, this wheresight "
                f"reads schema {SCHEMA_VERSION}. Use another --out, or the version that wrote it."
            )
        return found

    def prepare(self, identity: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        """Make the folder ready for this run, or continue the same run in it.

        Args:
            identity: everything that decides a record apart from item and intervention.
            request: what is asked for this time (items, interventions, command); kept for reports.

        Raises:
            RunError: if the path is a file, cannot be written, or holds a run that differs.
        """
        self._refuse_file()
        with _explained(self.path):
            # A run that has no record yet, because its model could not be loaded say, gives way.
            if self._manifest_file.exists() and any(self.parts.glob("*.parquet")):
                self._refuse_other(self.manifest()["identity"], identity)
            elif not self._manifest_file.exists() and self._holds_other_things():
                raise RunError(
                    f"The output folder {str(self.path)!r} is not empty and holds no run of "
                    "wheresight. Choose an empty or new folder for --out."
                )
            self.parts.mkdir(parents=True, exist_ok=True)
            known = self.manifest() if self._manifest_file.exists() else {}
            self._write_manifest(
                {
                    "schema_version": SCHEMA_VERSION,
                    "identity": dict(identity),
                    "request": dict(request),
                    "environment": known.get("environment"),
                }
            )

    def note_environment(self, environment: Mapping[str, Any]) -> None:
        """Write down where records are computed: versions, hardware, seeds."""
        self._write_manifest({**self.manifest(), "environment": dict(environment)})

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        self.write_text("run.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")

    def _refuse_file(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(
                f"The output {str(self.path)!r} is a file; expected a folder, new or of this same "
                "run. Choose another --out."
            )

    def _holds_other_things(self) -> bool:
        return self.path.is_dir() and any(f.name != ".lock" for f in self.path.iterdir())

    def _refuse_other(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        new = json.loads(json.dumps(new))
        differ = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
        if not differ:
            return
        shown = "; ".join(
            f"{k}: {_short(old.get(k))} there, {_short(new.get(k))} now" for k in differ
        )
        raise RunError(
            f"The output folder {str(self.path)!r} holds another run ({shown}). Records of "
            "different runs are never mixed: choose another --out, or repeat that run as it was."
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one writer; RunError at once if another process holds it."""
        self._refuse_file()
        with _explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            held = filelock.FileLock(self.path / ".lock", timeout=0)
            try:
                held.acquire()
            except filelock.Timeout:
                raise RunError(
                    f"Another wheresight process is writing to {str(self.path)!r}. Wait for it, "
                    "or choose another --out."
                ) from None
        try:
            yield
        finally:
            held.release()

    def has(self, unit: str) -> bool:
        """Is this unit's part there? (Whether it can be read is found by `damaged`.)"""
        return any(self.parts.glob(f"{unit}-*.parquet"))

    def write(self, unit: str, table: pa.Table) -> None:
        """Write one unit's records so that they are either all there or not at all."""
        table = table.cast(RECORD_SCHEMA)
        temporary = self.parts / f".{unit}.{os.getpid()}.tmp"
        with _explained(self.path):
            try:
                pq.write_table(table, temporary, compression="zstd")
                _sync(temporary)
                temporary.replace(self.parts / f"{unit}-{_hash(temporary.read_bytes())}.parquet")
            finally:
                temporary.unlink(missing_ok=True)

    def damaged(self) -> list[Path]:
        """Parts that cannot be read back, now set aside as `*.damaged`; leftovers are removed."""
        with _explained(self.path):
            for leftover in self.parts.glob(".*.tmp"):
                leftover.unlink()
            bad = []
            for part in sorted(self.parts.glob("*.parquet")):
                try:
                    _read_part(part)
                except (pa.ArrowException, OSError):
                    part.replace(part.with_suffix(".damaged"))
                    bad.append(part)
        return bad

    def read(self) -> pa.Table:
        """All records, by item, cell, question and intervention.

        Raises:
            RunError: if there are none, or a part is damaged (which one, and what to do).
        """
        self.manifest()
        tables = []
        for part in sorted(self.parts.glob("*.parquet")):
            try:
                tables.append(_read_part(part))
            except (pa.ArrowException, OSError) as error:
                raise RunError(
                    f"The record part {str(part)!r} cannot be read ({_first_line(error)}). Repeat "
                    "the probe's command: it sets the part aside and computes it again."
                ) from None
        if not tables:
            raise RunError(
                f"{str(self.path)!r} has no records yet. Repeat the probe's command to make them."
            )
        by = [(name, "ascending") for name in ("item", "cell", "question", "intervention")]
        return pa.concat_tables(tables).sort_by(by)

    def write_text(self, name: str, text: str) -> Path:
        """Write a small text file in the folder, whole or not at all."""
        final = self.path / name
        temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        with _explained(self.path):
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(text, encoding="utf-8")
                _sync(temporary)
                temporary.replace(final)
            finally:
                temporary.unlink(missing_ok=True)
        return final


def _read_part(part: Path) -> pa.Table:
    # Parquet's own checksums cover pages only; a flipped bit in the footer would go unseen.
    data = part.read_bytes()
    if _hash(data) != part.stem.rpartition("-")[2]:
        raise pa.ArrowInvalid("its bytes are not those that were written")
    return pq.ParquetFile(pa.BufferReader(data)).read().cast(RECORD_SCHEMA)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the disk's errors into one sentence each."""
    try:
        yield
    except OSError as error:
        if isinstance(error, filelock.Timeout):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"The disk under {str(path)!r} is full. Finished records are safe: free some "
                "space and repeat the same command, which goes on where it stopped."
            ) from None
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise RunError(
                f"The output {str(path)!r} cannot be made: something on the way to it is a file. "
                "Choose another --out."
            ) from None
        reason = error.strerror or type(error).__name__
        raise RunError(
            f"The output folder {str(path)!r} cannot be written ({reason}). Choose another --out."
        ) from None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
