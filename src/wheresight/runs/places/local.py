"""A local folder: temporary name, fsync, rename; one party of writers at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

from wheresight.errors import RunError
from wheresight.runs.places.place import explained

# Taken for a moment, to look at the members' locks and to write the manifest.
_GATE = ".lock"
_GATE_SECONDS = 30
_MEMBER = re.compile(r"\.lock-(?P<party>[^-]+)-(?P<member>.+)")


class LocalFolder:
    """See Place.

    Every writer holds a lock file of its own, `.lock-PARTY-MEMBER`, until it ends; the system
    frees it when the process dies, however it dies. Writers of one party (the ranks of one run)
    hold the folder together, another party is refused. Lock files that nobody holds are removed.
    """

    shared = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def uri(self, name: str) -> str:
        return (self.path / name).resolve().as_uri()

    def everywhere(self) -> str:
        return str(self.path.resolve())

    def label(self, name: str) -> str:
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        for name in names:
            try:
                yield name, self.read(name)
            except FileNotFoundError:
                yield name, None

    def write(self, name: str, data: bytes) -> None:
        final = self.path / name
        temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        with explained(self.name):
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                if temporary.read_bytes() != data:
                    raise OSError(f"{name} does not read back as it was written")
                temporary.replace(final)
                _sync_folder(final.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def names(self, folder: str = "") -> list[str]:
        with explained(self.name), suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(self.path / folder))
        return []

    def move(self, name: str, to: str) -> None:
        with explained(self.name), suppress(FileNotFoundError):
            (self.path / name).replace(self.path / to)

    def clear(self) -> None:
        with explained(self.name):
            for folder in (self.path, self.path / "records"):
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink(missing_ok=True)

    def refuse_file(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(
                f"The output {self.name!r} is a file; expected a folder, new or of this same "
                "run. Choose another --out."
            )

    @contextmanager
    def hold(self, party: str, member: str) -> Iterator[bool]:
        own = filelock.FileLock(self.path / f".lock-{party}-{member}", timeout=0)
        with self.hold_briefly(), explained(self.name):
            alone = self._look_round(party, member)
            try:
                own.acquire()
            except filelock.Timeout:
                raise _busy(self.name) from None
        try:
            yield alone
        finally:
            # Lock files are removed behind the gate alone: else a newcomer might lock one that is
            # just being removed, and the next newcomer another of the same name.
            with suppress(RunError, OSError), self.hold_briefly():
                own.release()
                Path(own.lock_file).unlink(missing_ok=True)
            own.release(force=True)

    @contextmanager
    def claim(self, what: str) -> Iterator[bool]:
        lock = filelock.FileLock(self.path / f".{what}.lock", timeout=0)
        try:
            with explained(self.name):
                try:
                    lock.acquire()
                except filelock.Timeout:
                    claimed = False
                else:
                    claimed = True
            yield claimed
        finally:
            lock.release()

    def _look_round(self, party: str, member: str) -> bool:
        """Remove locks that nobody holds; is no other member at work? RunError if a party is."""
        alone = True
        for name in self.names():
            match = _MEMBER.fullmatch(name)
            if match is None or (match["party"], match["member"]) == (party, member):
                continue
            other = filelock.FileLock(self.path / name, timeout=0)
            try:
                other.acquire()
            except filelock.Timeout:
                if match["party"] != party:
                    raise _busy(self.name) from None
                alone = False
            else:
                other.release()
                Path(other.lock_file).unlink(missing_ok=True)
        return alone

    @contextmanager
    def hold_briefly(self) -> Iterator[None]:
        self.refuse_file()
        with ExitStack() as held:
            with explained(self.name):
                self.path.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(
                        filelock.FileLock(self.path / _GATE, timeout=_GATE_SECONDS).acquire()
                    )
                except filelock.Timeout:
                    raise _busy(self.name) from None
            yield

    @contextmanager
    def folder(self) -> Iterator[Path]:
        yield self.path


def _busy(name: str) -> RunError:
    return RunError(
        f"Another wheresight process is writing to {name!r}. Wait for it, look on with `wheresight "
        f"serve {name}`, or choose another --out."
    )


def _sync_folder(path: Path) -> None:
    """Make a rename last through a loss of power, where folders can be synced."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
