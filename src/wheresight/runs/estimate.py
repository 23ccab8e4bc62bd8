"""How long a study would take and how much memory: a few batches are run for real, none is kept."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from wheresight.errors import RunError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse
from wheresight.probes.grid import ITEMS_PER_UNIT, GridProbe
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.request import GridRequest, open_grid
from wheresight.skeletons import is_skeleton
from wheresight.stimuli.items import Item

if TYPE_CHECKING:
    from wheresight.lvlm.scoring import Scorer

LEVEL = 0.95


class Model(BaseModel):
    """Base: fields are fixed, and NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Seconds(Model):
    """A time with its range."""

    value: float = Field(description="Seconds.")
    low: float = Field(description="Lower end of the range, seconds.")
    high: float = Field(description="Upper end of the range, seconds.")

    def times(self, factor: float, plus: float = 0.0) -> Seconds:
        """So many times as long, and a fixed time more."""
        value, low, high = (x * factor + plus for x in (self.value, self.low, self.high))
        return Seconds(value=value, low=low, high=high)


class InterventionEstimate(Model):
    """One intervention, were it studied alone, on one device."""

    intervention: str = Field(description="Canonical spec.")
    seconds: Seconds = Field(description="Whole study with pictures prepared, no model loaded.")


class Memory(Model):
    """What the process needed at most."""

    weights_bytes: int = Field(description="All different weights.")
    peak_bytes: int | None = Field(description="Most that was in use; null where not known.")
    measured_as: str = Field(description="What peak_bytes is.")


class StudyEstimate(Model):
    """What a study would cost."""

    model: str = Field(description="As --model was given.")
    random_weights: bool = Field(description="Is it a skeleton, whose answers are noise?")
    device: str = Field(description="Where the batches ran.")
    dtype: str = Field(description="Type of the weights.")
    attention: str = Field(description="Attention implementation.")
    batch_size: int = Field(description="Questions in one forward pass.")
    items: int = Field(description="Items of the study.")
    cells: int = Field(description="Cells of the grid.")
    composites: int = Field(description="Different pictures to show.")
    questions: int = Field(description="Questions to ask, over all interventions.")
    units: int = Field(description="Groups of items that one worker does at a time.")
    devices: int = Field(description="Devices that share the work.")
    batches: int = Field(description="Batches measured, after one to warm up.")
    items_per_batch: int = Field(description="Items in each of them.")
    questions_per_second: float = Field(description="On one device, over all interventions.")
    start_seconds: float = Field(
        description="Planning and loading, measured here; each device spends it once."
    )
    interventions: list[InterventionEstimate] = Field(description="Each as if alone.")
    one_device: Seconds = Field(description="Whole study on one device, sharing what can be.")
    total: Seconds = Field(description="Whole study on all devices, each starting once.")
    memory: Memory = Field(description="Of one device.")
    range_means: str = Field(description="What low and high are.")


def estimate(
    request: GridRequest,
    *,
    devices: int = 1,
    batches: int = 4,
    progress: Progress | None = None,
) -> StudyEstimate:
    """Run a few batches of a study and say what all of it would cost; nothing is written.

    Items are taken from all over the plan; a batch has as many as fill one forward pass. The range
    is a 95 % t interval of the mean log time of a batch, which also allows for the batches to come:
    it holds for a machine that stays as busy as it is now. Left out: parts on the disk, and the
    summary and report at the end.

    Args:
        request: the study; `out` is not looked at.
        devices: how many like this one share the work. Units are dealt out whole.
        batches: how many to measure, at least 3.
        progress: who is told.

    Raises:
        WheresightError: as the run itself would.
    """
    if devices < 1:
        raise RunError(f"{devices} devices were given; expected 1 or more.")
    if batches < 3:
        raise RunError(f"{batches} batches were asked for; a range needs 3 or more.")
    if not request.interventions:
        raise RunError("No intervention was given; expected at least one, such as none or bapa.")
    progress = progress or Silent()
    began = time.perf_counter()
    specs = list(dict.fromkeys(canonical(spec) for spec in request.interventions))
    card, probe = open_grid(request, progress)
    for spec in specs:
        refuse_unhosted(parse(spec), card.host(request.attention))
    items = probe.items

    from wheresight.runs.work import Worker

    # Pictures are drawn in this process, so that their time is seen.
    alone = dataclasses.replace(request, picture_workers=0)
    worker = Worker(alone, card, probe, progress=progress)
    worker.settle(items[:ITEMS_PER_UNIT], specs)
    start = time.perf_counter() - began
    lvlm, scorer = worker.scorer.lvlm, worker.scorer
    if lvlm.device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(lvlm.device)
        probe.show(scorer, items[:ITEMS_PER_UNIT])  # as many as the run holds at once
    first, *rest = _batches(probe, scorer.batch_size, batches + 1)
    each = 1 if len(specs) == 1 else 1 + len(specs)
    progress.start(1 + each * len(rest), 0, "passes")
    try:
        # One to warm up: kernels are chosen and memory is taken.
        _measure(probe, scorer, first, specs, progress, alone=False)
        measured = [_measure(probe, scorer, batch, specs, progress) for batch in rest]
    finally:
        progress.stop()

    count = len(items) / len(first)
    together = _span([shown + every for shown, every, _ in measured], count)
    units = math.ceil(len(items) / ITEMS_PER_UNIT)
    share = math.ceil(units / devices) / units
    questions = sum(probe.rows_per_item(item) for item in items) * len(specs)
    cells = probe.settings.rows * probe.settings.columns
    return StudyEstimate(
        model=request.model,
        random_weights=is_skeleton(request.model),
        device=str(lvlm.device),
        dtype=request.dtype,
        attention=request.attention,
        batch_size=scorer.batch_size,
        items=len(items),
        cells=cells,
        composites=sum(cells * (1 + _has_sibling(probe, item)) for item in items),
        questions=questions,
        units=units * len(specs),
        devices=devices,
        batches=batches,
        items_per_batch=len(first),
        questions_per_second=questions / together.value,
        start_seconds=start,
        interventions=[
            InterventionEstimate(
                intervention=spec,
                seconds=_span([shown + alone[spec] for shown, _, alone in measured], count),
            )
            for spec in specs
        ],
        one_device=together.times(1, start),
        total=together.times(share, start),
        memory=_memory(lvlm),
        range_means=f"{LEVEL:.0%} range from the spread of {batches} batches",
    )


def _batches(probe: GridProbe, batch_size: int, count: int) -> list[list[Item]]:
    """Batches of items from all over the plan; a study of few items gives some of them twice."""
    items = probe.items
    each = math.ceil(batch_size / probe.rows_per_item(items[0]))
    each = max(1, min(each, ITEMS_PER_UNIT, len(items) // count))
    step = len(items) / (each * count)
    order = [items[int(n * step)] for n in range(each * count)]
    return [order[n::count] for n in range(count)]


def _measure(
    probe: GridProbe,
    scorer: Scorer,
    items: Sequence[Item],
    specs: Sequence[str],
    progress: Progress,
    *,
    alone: bool = True,
) -> tuple[float, float, dict[str, float]]:
    """Seconds to prepare a batch, to ask it under all interventions, and under each alone."""

    def clock() -> float:
        if scorer.lvlm.device.type == "cuda":
            import torch

            torch.cuda.synchronize(scorer.lvlm.device)
        return time.perf_counter()

    begin = clock()
    shown, encoded = probe.show(scorer, items)
    prepared = clock() - begin

    def asked(some: Sequence[str]) -> float:
        begin = clock()
        probe.measure(scorer, shown, encoded, some)
        took = clock() - begin
        progress.advance(1)
        return took

    every = asked(specs)
    if len(specs) == 1 or not alone:
        return prepared, every, dict.fromkeys(specs, every)
    return prepared, every, {spec: asked([spec]) for spec in specs}


def _span(seconds: Sequence[float], count: float) -> Seconds:
    """The time of `count` batches from some that were measured.

    Times of batches are positive and now and then much too long, so the interval is one of
    logarithms: the mean is divided and multiplied by one factor.
    """
    from scipy.stats import t

    n = len(seconds)
    mean = sum(seconds) / n
    logs = [math.log(x) for x in seconds]
    middle = sum(logs) / n
    spread = math.sqrt(sum((x - middle) ** 2 for x in logs) / (n - 1))
    width = float(t.ppf((1 + LEVEL) / 2, n - 1)) * spread * math.sqrt(1 / n + 1 / count)
    factor = math.exp(min(width, 50.0))
    return Seconds(value=mean, low=mean / factor, high=mean * factor).times(count)


def _has_sibling(probe: GridProbe, item: Item) -> bool:
    return probe.settings.protocol == "balanced" and item.sibling is not None


def _memory(lvlm: Any) -> Memory:
    from wheresight.skeletons.build import weight_bytes

    weights = weight_bytes(lvlm.model)
    if lvlm.device.type == "cuda":
        import torch

        peak = torch.cuda.max_memory_reserved(lvlm.device)
        said = "most that torch held on the device while batches ran"
        return Memory(weights_bytes=weights, peak_bytes=peak, measured_as=said)
    try:
        import resource
    except ImportError:  # Windows
        return Memory(weights_bytes=weights, peak_bytes=None, measured_as="not known here")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    said = (
        "most that the process had in memory, Python and libraries included, with one batch; a run "
        f"holds the image features of {ITEMS_PER_UNIT} items at once"
    )
    return Memory(weights_bytes=weights, peak_bytes=peak, measured_as=said)
