"""What an executor is given, and the worker that does it: one model, loaded once."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.runs.engine import Shard, execute
from wheresight.runs.launch import Share
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.request import GridRequest, reopen_grid
from wheresight.runs.results import Environment
from wheresight.runs.store import RunFolder
from wheresight.stimuli.items import Item

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard

# Pictures that go through the tower at once while a batch size is looked for.
_TRIED_PICTURES = 32


@dataclass(frozen=True)
class Work:
    """The units that one process is to see done, itself or through others.

    Attributes:
        request: what was asked for.
        card, probe: the model and the items, as this process opened them.
        shards: what is left to do.
        share: which share of the run they are.
        folder: where parts go; prepared, and held for this process.
        progress: who is told; `start` has not been called.
        rows_total, rows_done: questions of the whole share, and those with a record already.
    """

    request: GridRequest
    card: ModelCard
    probe: GridProbe
    shards: tuple[Shard, ...]
    share: Share
    folder: RunFolder
    progress: Progress
    rows_total: int
    rows_done: int


class Worker:
    """A model that is loaded once, and does shards.

    Args:
        request: what was asked for.
        card, probe: the model and the pairs.
        share: of this process, which says which accelerator of several is its own.
        progress: who is told.
        batch_size: what `auto` has found before in this run, or None.
    """

    def __init__(
        self,
        request: GridRequest,
        card: ModelCard,
        probe: GridProbe,
        share: Share | None = None,
        progress: Progress | None = None,
        batch_size: int | None = None,
    ) -> None:
        import torch

        from wheresight.lvlm.loading import load
        from wheresight.lvlm.scoring import Scorer
        from wheresight.runs.preparation import Ahead, InProcess, Preparation

        if request.cores_per_worker is not None:
            torch.set_num_threads(request.cores_per_worker)
        self._request, self.probe = request, probe
        self._progress = progress or Silent()
        device = _device(request.device, share)
        helpers = _picture_workers(request, device)
        # Before the model, so that they open their things meanwhile.
        ahead = Ahead(request, probe, helpers) if helpers else None
        self._progress.say(f"Loading {request.model}")
        try:
            lvlm = load(
                card,
                dtype=request.dtype,
                device=device,
                attention=request.attention,
                trust_remote_code=request.trust_remote_code,
                allow_pickle=request.allow_pickle,
            )
        except BaseException:
            if ahead is not None:
                ahead.close()
            raise
        size = batch_size if request.batch_size == "auto" else request.batch_size
        self._settled = size is not None
        self.scorer = Scorer(lvlm, batch_size=size or 1, share_prefix=request.share_prefix)
        self.preparation: Preparation = ahead or InProcess(probe, self.scorer.encoder)
        self._hardware: dict[str, Any] = {
            "device": str(lvlm.device),
            "threads": torch.get_num_threads(),
            "picture_workers": helpers,
        }
        self._environment = Environment.capture(seeds={"run": request.seed})
        self._noted: tuple[int, int] | None = None

    @classmethod
    def open(
        cls, request: GridRequest, settings: GridSettings, batch_size: int | None = None
    ) -> Worker:
        """Open the model and the pairs in another process or on another machine.

        Raises:
            RunError: if they are not what the run was planned with.
        """
        card, probe = reopen_grid(request, settings)
        return cls(request, card, probe, batch_size=batch_size)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware, seeds, and the batch size that is now in use."""
        found = self._environment.model_dump(mode="json")
        found["hardware"] |= self._hardware | {
            "batch_size": self.scorer.batch_size,
            "pictures_at_once": self.scorer.pictures_at_once,
            "batch_size_given_as": self._request.batch_size,
        }
        return found

    def settle(self, items: Sequence[Item], interventions: Sequence[str]) -> int:
        """With `--batch-size auto`, find the batch size on some items; return what is in use."""
        if self._settled:
            return self.scorer.batch_size
        from wheresight.lvlm.batch_size import find_batch_size

        self._progress.say("Trying batch sizes")
        self.scorer.set_batch_size(_TRIED_PICTURES)
        shown, encoded = self.probe.show(self.scorer, items)
        starts = [0, *itertools.accumulate(len(composite.asks) for composite in shown)]

        def ask(count: int) -> None:
            pictures = next(n for n, rows in enumerate(starts) if rows >= min(count, starts[-1]))
            rows = tuple(row for row in encoded.rows if row.picture < pictures)
            some = dataclasses.replace(encoded, rows=rows)
            self.probe.measure(self.scorer, shown[:pictures], some, interventions)

        size = find_batch_size(self.scorer, ask, most=starts[-1])
        self._settled = True
        self._progress.say(f"Batch size {size}")
        return size

    def do(
        self,
        shards: Sequence[Shard],
        folder: RunFolder,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """Compute the units of some shards; each part is written before the next begins."""
        if not shards:
            return
        self.settle(shards[0].items, [unit.intervention for unit in shards[0].todo])
        self._note(folder)
        for _ in execute(self.probe, shards, folder, self.scorer, self.preparation, advance):
            self._note(folder)

    def _note(self, folder: RunFolder) -> None:
        """Write down where records are computed, and whenever a batch size had to be halved."""
        sizes = self.scorer.batch_size, self.scorer.pictures_at_once
        if sizes == self._noted:
            return
        if self._noted is not None:
            self._progress.say(
                f"Memory ran out: {sizes[0]} questions and {sizes[1]} pictures at once from now on"
            )
        self._noted = sizes
        folder.note_environment(self.environment)

    def close(self) -> None:
        """End the processes that prepare pictures, if there are any."""
        self.preparation.close()


def recorded_batch_size(request: GridRequest, folder: RunFolder) -> int | None:
    """What `--batch-size auto` came to when this run was last worked on, or None."""
    hardware = (folder.manifest()["environment"] or {}).get("hardware", {})
    if request.batch_size != "auto" or hardware.get("batch_size_given_as") != "auto":
        return None
    return int(hardware["batch_size"])


def _picture_workers(request: GridRequest, device: str | None) -> int:
    import torch

    from wheresight.runs.preparation import automatic

    if request.picture_workers is not None:
        return request.picture_workers
    accelerator = torch.accelerator.current_accelerator()
    on_one = accelerator is not None and (device or accelerator.type) != "cpu"
    models = torch.accelerator.device_count() if on_one else 1
    return automatic(usable_cores() // max(models, 1), on_one)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(asked: str | None, share: Share | None) -> str | None:
    """The accelerator of this process, where several processes share a machine with several."""
    import torch

    if asked is not None or share is None or share.local is None:
        return asked
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return None
    return f"{accelerator.type}:{share.local % torch.accelerator.device_count()}"
