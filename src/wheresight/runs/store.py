"""A run's folder: what run it holds, and its records in Parquet parts.

    DIR/run.json               what decides the numbers (the identity), and the last request
    DIR/environment.json       where records were last computed
    DIR/records/UNIT-SHA.parquet   one part per finished work unit: the unit's name, which says
                               what decides its records, and a hash of the file itself
    DIR/results.json, report.html, figures/    made from the parts; can be made again

DIR is a local folder or an fsspec URL. A part is written so that it is whole or absent (`places/`
says how). A part whose bytes no longer have the hash in its name is named, set aside and computed
again. A part is of one run, which it names; no time of any clock is ever looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from wheresight.errors import RunError
from wheresight.runs.overlap import without_overlap
from wheresight.runs.parquet_bytes import digest, from_bytes, to_bytes
from wheresight.runs.places import open_place
from wheresight.runs.places.place import first_line
from wheresight.runs.records import RECORD_SCHEMA, SCHEMA_VERSION

RECORDS = "records"
_MANIFEST = "run.json"
_ENVIRONMENT = "environment.json"
_RUN_KEY = b"wheresight_run"


def content_name(content: Mapping[str, Any]) -> str:
    """Name something by what decides it: the first 16 hex digits of a hash of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunFolder:
    """Open an output folder for one run identity, or for reading alone.

    Args:
        where: a local folder or an fsspec URL; made if absent.
        identity: the run that will be written, if another process has prepared the folder for it.

    Attributes:
        place: where the files lie.
        name: the folder as people know it.

    Raises:
        RunError: an URL that fsspec cannot open.
    """

    def __init__(
        self, where: str | os.PathLike[str], identity: Mapping[str, Any] | None = None
    ) -> None:
        self.place = open_place(where)
        self.name = self.place.name
        self._run = None if identity is None else content_name(identity)

    @property
    def path(self) -> Path:
        """The local folder; RunError if the run lies in a store."""
        path: Path | None = getattr(self.place, "path", None)
        if path is None:
            raise RunError(
                f"The run {self.name!r} lies in a store, and a local folder is needed. Copy it "
                "first, and give the copy."
            )
        return path

    @property
    def parts(self) -> Path:
        """The local folder of the parts; RunError if the run lies in a store."""
        return self.path / RECORDS

    def manifest(self) -> dict[str, Any]:
        """What run.json says: `schema_version`, `identity`, `request`, and `environment`, where
        records were last computed (null before that).

        Raises:
            RunError: if the folder or the file is missing, unreadable, or of another version.
        """
        found = self._manifest()
        if found is None:
            raise RunError(
                f"{self.name!r} holds no run (there is no run.json). Expected a folder that "
                "`wheresight probe --out DIR` wrote."
            )
        try:
            environment = json.loads(self.place.read(_ENVIRONMENT))
        except (FileNotFoundError, ValueError):
            environment = None
        return {**found, "environment": environment}

    def _manifest(self) -> dict[str, Any] | None:
        try:
            data = self.place.read(_MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found: dict[str, Any] = json.loads(data)
            version = found["schema_version"]
            _ = found["identity"], found["request"]
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{self.place.label(_MANIFEST)!r} is damaged: it is not the JSON that wheresight "
                "writes. The records beside it are untouched; repeat the run with another --out."
            ) from None
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{self.name!r} was written with record schema {version}, this wheresight "
                f"reads schema {SCHEMA_VERSION}. Use another --out, or the version that wrote it."
            )
        return found

    def prepare(self, identity: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        """Make the folder ready for this run, or continue the same run in it.

        Args:
            identity: everything that decides a record apart from item and intervention.
            request: what is asked for this time (items, interventions, command); kept for reports.

        Raises:
            RunError: if the path is a file, cannot be written, or holds a run that differs or has
                more items.
        """
        with self.place.hold_briefly():
            held = self.place.names()
            # A run that has no record yet, because its model could not be loaded say, gives way.
            if _MANIFEST in held and self._part_files():
                before = self.manifest()
                self._refuse_other(before["identity"], identity)
                self._refuse_fewer(before["request"], request)
            elif _MANIFEST not in held and any(not name.startswith(".") for name in held):
                raise RunError(
                    f"The output folder {self.name!r} is not empty and holds no run of "
                    "wheresight. Choose an empty or new folder for --out."
                )
            manifest = {
                "schema_version": SCHEMA_VERSION,
                "identity": dict(identity),
                "request": dict(request),
            }
            self._write_json(_MANIFEST, manifest)
        self._run = content_name(identity)

    def note_environment(self, environment: Mapping[str, Any]) -> None:
        """Write down where records are computed: versions, hardware, seeds."""
        self._write_json(_ENVIRONMENT, environment)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self.place.write(name, text.encode())

    def _refuse_other(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        new = json.loads(json.dumps(new))
        differ = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
        if not differ:
            return
        shown = "; ".join(
            f"{k}: {_short(old.get(k))} there, {_short(new.get(k))} now" for k in differ
        )
        raise RunError(
            f"The output folder {self.name!r} holds another run ({shown}). Records of "
            "different runs are never mixed: choose another --out, or repeat that run as it was."
        )

    def _refuse_fewer(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """A report counts all items of a folder, so what repeats it cannot ask for fewer."""
        before, now = (request.get("options", {}).get("items", 0) for request in (old, new))
        if before > now:
            raise RunError(
                f"The output folder {self.name!r} holds a run of {before:,} items, and {now:,} "
                f"were asked for. Ask for {before:,} or more to go on with it, choose another "
                f"--out, or see what it has so far: wheresight report {self.name}"
            )

    @contextmanager
    def lock(self, party: str = "alone", member: str = "0") -> Iterator[None]:
        """Hold the folder for one party of writers; RunError at once if another one is at work.

        Args:
            party: the run and how many share it; its members may write together.
            member: which of them this is; there is only one of each.

        A store cannot be locked: see `places/store.py` for what protects records there.
        """
        self.place.refuse_file()
        with self.place.hold(party, member) as alone:
            if alone:
                self.place.clear()
            yield

    def claim(self, what: str) -> AbstractContextManager[bool]:
        """Do something that one member of the party is enough for: False if another is at it."""
        return self.place.claim(what)

    def units(self) -> set[str]:
        """The units whose parts are there, from one listing (`damaged` finds whether they read)."""
        return {_unit(name) for name in self._part_files()}

    def has(self, unit: str) -> bool:
        """Is this unit's part there?"""
        return unit in self.units()

    def write(self, unit: str, table: pa.Table) -> None:
        """Write one unit's records so that they are either all there or not at all.

        Raises:
            RunError: if they cannot be written, or the folder has been taken by another run.
        """
        schema = RECORD_SCHEMA
        if self._run is not None:
            found = self._manifest()
            if found is None or content_name(found["identity"]) != self._run:
                raise RunError(
                    f"The output {self.name!r} now holds another run, which was started in it "
                    "after this one. Choose another --out for one of them."
                )
            schema = schema.with_metadata({**schema.metadata, _RUN_KEY: self._run.encode()})
        data = to_bytes(table.cast(schema))
        self.place.write(f"{RECORDS}/{unit}-{digest(data)}.parquet", data)

    def damaged(self, mine: Callable[[str], bool] = lambda unit: True) -> list[str]:
        """Parts whose bytes are not those that were written, now set aside as `*.damaged`.

        Args:
            mine: which units to look at; ranks that share a run share this work too.
        """
        bad = []
        for name, data in self._read_parts(lambda name: mine(_unit(name))):
            if digest(data) != _sha(name):
                self.place.move(f"{RECORDS}/{name}", f"{RECORDS}/{name}.damaged")
                bad.append(self.place.label(f"{RECORDS}/{name}"))
        return bad

    def read(self) -> pa.Table:
        """All records, by item, cell, question and intervention.

        Where two writers have made one unit, which a store without locks allows, one part counts;
        and where a unit of few items was followed by one with more, when the run was made larger,
        the larger one.

        Raises:
            RunError: if there are none, a part is damaged (which one, and what to do), or a part
                is of another run.
        """
        run = content_name(self.manifest()["identity"])
        tables: dict[str, pa.Table] = {}
        for name, data in self._read_parts():
            part = self.place.label(f"{RECORDS}/{name}")
            try:
                if digest(data) != _sha(name):
                    # Parquet's own checksums cover pages only, so a flipped bit in the footer
                    # would go unseen.
                    raise pa.ArrowInvalid("its bytes are not those that were written")
                table = from_bytes(data)
                of = (table.schema.metadata or {}).get(_RUN_KEY, run.encode()).decode()
                table = table.cast(RECORD_SCHEMA)
            except (pa.ArrowException, OSError) as error:
                raise RunError(
                    f"The record part {part!r} cannot be read ({first_line(error)}). Repeat "
                    "the probe's command: it sets the part aside and computes it again."
                ) from None
            if of != run:
                raise RunError(
                    f"The record part {part!r} is of another run, which was started in the same "
                    "place at the same moment. Move such parts away, or repeat the run with "
                    "another --out."
                )
            tables.setdefault(_unit(name), table)
        if not tables:
            raise RunError(
                f"{self.name!r} has no records yet. Repeat the probe's command to make them."
            )
        by = [(name, "ascending") for name in ("item", "cell", "question", "intervention")]
        return pa.concat_tables(without_overlap(tables)).sort_by(by)

    def files(self) -> AbstractContextManager[Path]:
        """A local folder for what is made from the records; put into the store where it is one."""
        return self.place.folder()

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file in the folder, whole or not at all."""
        self.place.write(name, text.encode())

    def _part_files(self) -> list[str]:
        return [
            name
            for name in self.place.names(RECORDS)
            if name.endswith(".parquet") and not name.startswith(".")
        ]

    def _read_parts(
        self, wanted: Callable[[str], bool] = lambda name: True
    ) -> Iterator[tuple[str, bytes]]:
        names = [name for name in self._part_files() if wanted(name)]
        found = self.place.read_all(f"{RECORDS}/{name}" for name in names)
        for name, (_, data) in zip(names, found, strict=True):
            if data is not None:
                yield name, data


def _unit(part: str) -> str:
    return part.rpartition("-")[0]


def _sha(part: str) -> str:
    return part.removesuffix(".parquet").rpartition("-")[2]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
