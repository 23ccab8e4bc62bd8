"""The page of a study that is still running, made anew whenever its records change."""

from __future__ import annotations

import datetime
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wheresight.errors import RunError, WheresightError
from wheresight.report import study as pages
from wheresight.report.document import watched
from wheresight.report.study import Missing
from wheresight.runs.places import open_place
from wheresight.runs.store import RECORDS
from wheresight.runs.study import KINDS, build, find

_LOOK_EVERY = 0.5  # seconds
# A build takes processors from the run, so that many times its own length passes before the next.
_REST = 3.0
_WATCHED = {*KINDS, "choices.json", "environment.json"}


@dataclass(frozen=True)
class Seen:
    """What is shown at a time.

    Attributes:
        version: changes when the page does.
        page: as `wheresight report` makes it.
        live: the same, asking for its next version.
        samples: further pages by their address.
        said: how far the study is, a sentence.
    """

    version: str
    page: str
    live: str
    samples: dict[str, str] = field(default_factory=dict)
    said: str = ""


class Watch:
    """Looks at folders and makes their page; nothing in them is changed.

    Args:
        folders: that wheresight writes into, or that hold some.
        replicates: bootstrap replicates.

    Attributes:
        seen: the newest page. It is replaced as a whole, so that other threads may read it.

    Raises:
        RunError: if a folder is not there.
    """

    def __init__(self, folders: Sequence[str], replicates: int = 2000) -> None:
        for folder in folders:
            if hasattr(open_place(folder), "path") and not Path(folder).is_dir():
                raise RunError(
                    f"There is no folder {folder!r} to watch. Give the --out of a study that runs "
                    "or has run, or make the folder first."
                )
        self._folders, self._replicates = list(folders), replicates
        self._signature: object = None
        self.seen = self._made("", Missing(", ".join(folders), "It is being read."), 0)

    def look(self) -> bool:
        """Make the page anew if anything has changed; say whether it had."""
        signature = self._signed()
        if signature == self._signature:
            return False
        files = len(signature)
        try:
            found = find(self._folders)
            study = build(found, self._folders, replicates=self._replicates, whole=False)
            self.seen = self._made(study.page, None, files, study.samples)
        except Exception as error:  # of records that are half there; the next look tries again
            said = str(error) if isinstance(error, WheresightError) else repr(error)
            self.seen = self._made("", Missing(", ".join(self._folders), said), files)
        self._signature = signature
        return True

    def keep_looking(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            began = time.monotonic()
            changed = self.look()
            rest = _REST * (time.monotonic() - began) if changed else 0.0
            stop.wait(max(_LOOK_EVERY, rest))

    def _made(
        self, page: str, missing: Missing | None, files: int, samples: dict[str, str] | None = None
    ) -> Seen:
        page = page or pages.page([], [missing] if missing else [], "wheresight serve")
        version = hashlib.sha256(page.encode("utf-8", "replace")).hexdigest()[:16]
        now = datetime.datetime.now().strftime("%H:%M:%S")
        said = f"Watching: {files:,} files of records and settings; the page was made at {now}."
        return Seen(version, page, watched(page, version), samples or {}, said)

    def _signed(self) -> tuple[tuple[str, int, int], ...]:
        """Names, sizes and times of all that the page is made from."""
        found: list[tuple[str, int, int]] = []
        for folder in self._folders:
            place = open_place(folder)
            if not hasattr(place, "path"):
                names = [*place.names(), *(f"{RECORDS}/{n}" for n in place.names(RECORDS))]
                found += [(f"{folder}/{name}", 0, 0) for name in names]
                continue
            for at, folders, names in os.walk(folder):
                folders[:] = sorted(n for n in folders if not n.startswith("."))
                of_records = Path(at).name == RECORDS
                for name in sorted(names):
                    if (of_records and name.endswith(".parquet")) or name in _WATCHED:
                        path = Path(at, name)
                        try:
                            state = path.stat()
                        except FileNotFoundError:  # it has just been moved
                            continue
                        found.append((str(path), state.st_size, state.st_mtime_ns))
        return tuple(found)
