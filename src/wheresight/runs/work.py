"""What an executor is given, and the worker that does it: one model, loaded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import RunError
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.runs.engine import Shard, execute
from wheresight.runs.launch import Share
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.request import GridRequest, open_grid
from wheresight.runs.results import Environment
from wheresight.runs.store import RunFolder

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard
    from wheresight.lvlm.scoring import Scorer


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
    """

    def __init__(
        self,
        request: GridRequest,
        card: ModelCard,
        probe: GridProbe,
        share: Share | None = None,
        progress: Progress | None = None,
    ) -> None:
        import torch

        from wheresight.lvlm.loading import load
        from wheresight.lvlm.scoring import Scorer

        if request.cores_per_worker is not None:
            torch.set_num_threads(request.cores_per_worker)
        (progress or Silent()).say(f"Loading {request.model}")
        lvlm = load(
            card,
            dtype=request.dtype,
            device=_device(request.device, share),
            attention=request.attention,
            trust_remote_code=request.trust_remote_code,
            allow_pickle=request.allow_pickle,
        )
        hardware = {"device": str(lvlm.device), "threads": torch.get_num_threads()}
        self.environment: dict[str, Any] = Environment.capture(
            seeds={"run": request.seed}, hardware=hardware
        ).model_dump(mode="json")
        self.probe = probe
        self.scorer: Scorer = Scorer(
            lvlm, batch_size=request.batch_size, share_prefix=request.share_prefix
        )

    @classmethod
    def open(cls, request: GridRequest, settings: GridSettings) -> Worker:
        """Open the model and the pairs in another process or on another machine.

        Raises:
            RunError: if they are not what the run was planned with.
        """
        card, probe = open_grid(request, Silent())
        if probe.settings != settings:
            here, there = probe.settings.model_dump(), settings.model_dump()
            differ = ", ".join(k for k in there if here[k] != there[k])
            raise RunError(
                f"A worker sees another run than the one that was planned (it differs in {differ})."
                " Give every machine the same model and the same source."
            )
        return cls(request, card, probe)

    def do(
        self,
        shards: Sequence[Shard],
        folder: RunFolder,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """Compute the units of some shards; each part is written before the next begins."""
        execute(self.probe, shards, folder, self.scorer, advance)


def _device(asked: str | None, share: Share | None) -> str | None:
    """The accelerator of this process, where several processes share a machine with several."""
    import torch

    if asked is not None or share is None or share.local is None:
        return asked
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return None
    return f"{accelerator.type}:{share.local % torch.accelerator.device_count()}"
