"""Pictures drawn and preprocessed ahead of the model, in processes of their own.

A job is a few composites of one shard. Its result goes through a file, so that what passes between
processes is small and a process that is killed midway leaves nothing half said. Processes are
started afresh, never forked: the parent has threads, and may have an accelerator.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wheresight.errors import RunError
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.runs.request import GridRequest, reopen_grid
from wheresight.runs.worker_pool import WorkerPool
from wheresight.stimuli.items import Item

if TYPE_CHECKING:
    from wheresight.lvlm.encoding import Encoder
    from wheresight.lvlm.preprocessing import Preprocessed, Preprocessor

# Restarts without a single finished job between them.
_RESTARTS = 5
# More than a few processes would only wait for the model.
_MOST = 4
# With fewer cores and no accelerator, a process would take from the model what it gives.
_CORES_TO_SPARE = 8

Job = tuple[int, int, int]  # which of the shards, first composite, last composite + 1


class Preparation(Protocol):
    """Makes composites ready for the vision tower."""

    def begin(self, shards: Sequence[Sequence[Item]], pictures_at_once: int) -> None:
        """Say which shards will be asked for, in order, and by how many pictures at a time."""

    def take(self, shard: int, start: int, stop: int) -> Preprocessed:
        """Composites `start` to `stop` of a shard of those that were begun."""

    def close(self) -> None:
        """End what was started."""


class InProcess:
    """Prepares when asked, in this process."""

    def __init__(self, probe: GridProbe, encoder: Encoder) -> None:
        self._probe, self._preprocess = probe, encoder.preprocess
        self._shards: list[Sequence[Item]] = []

    def begin(self, shards: Sequence[Sequence[Item]], pictures_at_once: int) -> None:
        """See Preparation."""
        self._shards = list(shards)

    def take(self, shard: int, start: int, stop: int) -> Preprocessed:
        """See Preparation."""
        return _prepare(self._probe, self._preprocess, self._shards[shard], start, stop)

    def close(self) -> None:
        """See Preparation."""


class Ahead:
    """Prepares in processes of its own, up to about one shard ahead of what is asked for.

    Processes that die are started again, and what they were doing is done again.

    Args:
        request: what was asked for; each process opens the pairs and the processor by it.
        probe: of the run. A process that sees other settings refuses to work.
        processes: how many.
    """

    def __init__(self, request: GridRequest, probe: GridProbe, processes: int) -> None:
        self._probe = probe
        self._processes = processes
        self._shards: list[Sequence[Item]] = []
        self._coming: Iterator[Job] = iter(())
        self._at_once = 0
        self._waiting: OrderedDict[Job, Future[str]] = OrderedDict()
        self._deaths = 0
        self._folder = tempfile.mkdtemp(prefix="wheresight-")
        self._told = (asdict(request), probe.settings.model_dump(), self._folder)
        self._pool = self._started()

    def begin(self, shards: Sequence[Sequence[Item]], pictures_at_once: int) -> None:
        """See Preparation."""
        self._forget()
        self._shards, self._at_once = list(shards), pictures_at_once
        self._coming = self._jobs((0, 0))
        self._fill()

    def take(self, shard: int, start: int, stop: int) -> Preprocessed:
        """See Preparation.

        Raises:
            StimulusError: as drawing in this process would.
            RunError: if processes die again and again.
        """
        job = (shard, start, stop)
        if job not in self._waiting:  # the model's memory ran out, and it asks for fewer at a time
            self._forget()
            self._at_once = stop - start
            self._coming = self._jobs((shard, start))
            self._fill()
        path = Path(self._result(job))
        # Its place is taken by another job before the file is read.
        del self._waiting[job]
        self._fill()
        try:
            return _read(path)
        finally:
            path.unlink()

    def close(self) -> None:
        """See Preparation."""
        self._pool.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- jobs -------------------------------------------------------------------------------

    def _jobs(self, since: tuple[int, int]) -> Iterator[Job]:
        """All jobs from a composite of a shard on, in order."""
        for shard in range(since[0], len(self._shards)):
            count = self._probe.composite_count(self._shards[shard])
            first = since[1] if shard == since[0] else 0
            for start in range(first, count, self._at_once):
                yield shard, start, min(start + self._at_once, count)

    def _fill(self) -> None:
        """Hand out jobs until a shard's worth, and one for each process, is under way."""
        longest = max((self._probe.composite_count(items) for items in self._shards), default=0)
        limit = max(self._processes + 1, -(-longest // max(self._at_once, 1)))
        while len(self._waiting) < limit:
            job = next(self._coming, None)
            if job is None:
                return
            self._waiting[job] = self._submitted(job)

    def _submitted(self, job: Job) -> Future[str]:
        shard, start, stop = job
        return self._pool.submit(_do, tuple(self._shards[shard]), start, stop)

    def _result(self, job: Job) -> str:
        while True:
            try:
                path = self._pool.result(self._waiting[job])
            except BrokenProcessPool:
                self._restart()
            except OSError as error:
                raise RunError(
                    f"Pictures prepared ahead could not be kept in {self._folder!r} ({error}). Set "
                    "TMPDIR to a folder with more room, or give --picture-workers 0."
                ) from None
            else:
                self._deaths = 0
                return path

    def _restart(self) -> None:
        """Start the processes again, and give them all that has no result."""
        self._deaths += 1
        self._pool.kill()
        if self._deaths > _RESTARTS:
            raise RunError(
                f"Processes that prepare pictures died {self._deaths} times without finishing "
                "anything (see what they wrote above; a system short of memory kills them "
                "silently). Finished records are kept: repeat the same command with "
                "--picture-workers 0, which draws in the process of the model."
            )
        self._pool = self._started()
        for job, future in self._waiting.items():
            if not _has_result(future):
                self._waiting[job] = self._submitted(job)

    def _forget(self) -> None:
        """Drop all jobs; their files go, those of jobs under way when everything is closed."""
        for future in self._waiting.values():
            if not future.cancel() and future.done() and future.exception() is None:
                Path(future.result()).unlink(missing_ok=True)
        self._waiting.clear()

    def _started(self) -> WorkerPool:
        pool = WorkerPool(self._processes, _open, self._told)
        pool.submit(os.getpid)  # so that they open their things while the model is loaded
        return pool


def automatic(share_cores: int, accelerator: bool) -> int:
    """How many processes prepare pictures where nobody has said.

    Args:
        share_cores: cores of this machine for each process that runs a model.
        accelerator: does the model run on one?
    """
    if accelerator:
        return max(0, min(_MOST, share_cores - 1))
    return 1 if share_cores >= _CORES_TO_SPARE else 0


# ---- in the processes -------------------------------------------------------------------------


class _Opened:
    """What a process has opened; it is made once, by `_open`."""

    def __init__(self, probe: GridProbe, preprocess: Preprocessor, folder: str) -> None:
        self.probe, self.preprocess, self.folder = probe, preprocess, folder


_opened: _Opened | Exception | None = None


def _open(request: dict[str, Any], settings: dict[str, Any], folder: str) -> None:
    """Open the pairs and the processor; no weights are read."""
    global _opened
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when it is over
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()
    try:
        import torch

        from wheresight.lvlm.families import family_for_config
        from wheresight.lvlm.preprocessing import Preprocessor

        torch.set_num_threads(1)
        asked = GridRequest(**request)
        card, probe = reopen_grid(asked, GridSettings(**settings))
        image_id = family_for_config(card.config).image_token(card.config)
        dtype = getattr(torch, asked.dtype)
        _opened = _Opened(probe, Preprocessor(card.processor, image_id, dtype), folder)
    except Exception as error:  # told by the first job: an initialiser's error is only printed
        _opened = error


def _end_with(parent: Any, folder: str) -> None:
    """End when the parent has been killed, which nothing else would tell."""
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _do(items: Sequence[Item], start: int, stop: int) -> str:
    """Prepare some composites of a shard; return the file that they were written to."""
    if not isinstance(_opened, _Opened):
        raise _opened if _opened is not None else RuntimeError("nothing was opened")
    prepared = _prepare(_opened.probe, _opened.preprocess, items, start, stop)
    handle, path = tempfile.mkstemp(dir=_opened.folder, suffix=".pt")
    os.close(handle)
    _write(prepared, path)
    return path


def _prepare(
    probe: GridProbe, preprocess: Preprocessor, items: Sequence[Item], start: int, stop: int
) -> Preprocessed:
    return preprocess(probe.queries(probe.shown(items)[start:stop]))


def _write(prepared: Preprocessed, path: str) -> None:
    import torch

    rows = [(row.picture, row.ids, row.types) for row in prepared.rows]
    torch.save((rows, prepared.images, prepared.counts, prepared.sizes), path)


def _read(path: Path) -> Preprocessed:
    import torch

    from wheresight.lvlm.preprocessing import Preprocessed, Row

    rows, images, counts, sizes = torch.load(path, weights_only=True)
    return Preprocessed(tuple(Row(*row) for row in rows), images, counts, sizes)


def _has_result(future: Future[str]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
