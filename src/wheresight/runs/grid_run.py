"""One call from a model's name to a report: plan, resume, score, summarise, draw."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

from wheresight.errors import RunError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse
from wheresight.runs.adapter import say_adapter
from wheresight.runs.engine import Plan, plan
from wheresight.runs.executors import executor
from wheresight.runs.launch import Share
from wheresight.runs.outcome import summarise_folder
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.request import GridRequest, open_grid
from wheresight.runs.results import Results
from wheresight.runs.store import RunFolder, content_name
from wheresight.runs.work import Work

__all__ = ["GridOutcome", "GridRequest", "run_grid"]


@dataclass(frozen=True)
class GridOutcome:
    """Where a run ended.

    Attributes:
        results: the numbers; None where other processes of the run were not done yet.
        folder: the output folder or URL.
        report: address of the page, or None where there are no results.
        rows_computed: questions that this process answered, or had answered.
    """

    results: Results | None
    folder: str
    report: str | None
    rows_computed: int


def run_grid(
    request: GridRequest, *, command: Sequence[str] | None = None, progress: Progress | None = None
) -> GridOutcome:
    """Run the grid probe, or go on with it, and write records, results.json and report.html.

    Where torchrun or Slurm started several processes, each does its share of the units, and the
    last to finish makes results and report.

    Raises:
        WheresightError: what was given, what was expected, what to do; finished records are kept.
    """
    progress = progress or Silent()
    interventions = _interventions(request.interventions)
    who = executor(request.executor)
    share = who.share(os.environ)
    folder = RunFolder(request.out)
    _check_workers(request, folder, share)
    card, probe = open_grid(request, progress)
    for spec in interventions:
        refuse_unhosted(parse(spec), card.host(request.attention))
    say_adapter(card, interventions, progress)
    whole = plan(probe, interventions)
    own = whole.share(share.has)
    identity = probe.settings.model_dump(mode="json")
    said = shlex.join(command) if command else repr(request)
    # Ranks hold the folder together if they were started to do the same thing.
    same = {"identity": identity, "items": request.items, "specs": interventions}
    with folder.lock(content_name({**same, "world": share.world}), str(share.rank)):
        folder.prepare(identity, {"command": said, "options": asdict(request)})
        for part in folder.damaged(_looked_after(whole, own, share)):
            progress.say(f"The record part {part} is damaged; it is set aside and computed again")
        left = own.left(folder.units())
        progress.say(_start(request, whole, own, left, share))
        if left.shards:
            probe.check_pictures(item for shard in left.shards for item in shard.items)
            work = Work(
                request=request,
                card=card,
                probe=probe,
                shards=left.shards,
                share=share,
                folder=folder,
                progress=progress,
                rows_total=own.rows,
                rows_done=own.rows - left.rows,
            )
            who.compute(work)
        done = folder.units()
        _refuse_lost(own.left(done), folder)
        missing = whole.left(done).rows
        # The last to finish makes the report; where nothing was left to do, the first does.
        reports = not missing and (left.shards or share.rank == 0)
        with folder.claim("report") if reports else nullcontext(False) as claimed:
            if not claimed:
                progress.say(
                    f"Process {share.rank} of {share.world} is done; {missing:,} questions are "
                    "left to others, and the last of them makes the report"
                )
                return GridOutcome(None, folder.name, None, left.rows)
            results, report = summarise_folder(
                folder, render=probe.render, replicates=request.replicates, progress=progress
            )
    return GridOutcome(results, folder.name, report, left.rows)


def _looked_after(whole: Plan, own: Plan, share: Share) -> Callable[[str], bool]:
    """The parts that this process checks: its own; the first checks those of no share, too."""
    mine = set(own.units())
    others = set(whole.units()) - mine
    return lambda unit: unit in mine or (share.rank == 0 and unit not in others)


def _refuse_lost(lost: Plan, folder: RunFolder) -> None:
    if lost.shards:
        raise RunError(
            f"{lost.rows:,} questions have no record in {folder.name!r} though their workers say "
            "that they are done. Workers on other machines must see the same folder: give --out "
            "on shared storage, or a URL such as s3://bucket/run."
        )


def _start(request: GridRequest, whole: Plan, own: Plan, left: Plan, share: Share) -> str:
    asked = (
        f"{whole.rows:,} questions ({request.items:,} items x {request.grid} cells x "
        f"{len(whole.shards[0].todo)} interventions, negatives included)"
    )
    done = own.rows - left.rows
    if share.world == 1:
        return f"{asked}; {done:,} are done"
    return (
        f"{asked}; process {share.rank} of {share.world} ({share.told_by}) does {own.rows:,} of "
        f"them, of which {done:,} are done"
    )


def _check_workers(request: GridRequest, folder: RunFolder, share: Share) -> None:
    for name, value in (
        ("workers", request.workers),
        ("cores per worker", request.cores_per_worker),
    ):
        if value is not None and value < 1:
            raise RunError(f"The number of {name} was given as {value}; expected 1 or more.")
    if request.picture_workers is not None and request.picture_workers < 0:
        raise RunError(
            f"The number of picture workers was given as {request.picture_workers}; expected 0 "
            "(draw in the model's own process) or more."
        )
    if request.executor == "local":
        given = {"--address": request.address, "--workers": request.workers}
        for option in given:
            if given[option] is not None:
                raise RunError(
                    f"{option} was given, and the executor is local, which works in this process "
                    "alone. Add --executor ray, or start several with torchrun or Slurm."
                )
    if share.world > 1 and not folder.place.shared:
        raise RunError(
            f"The output {folder.name!r} is in the memory of one process, and {share.world} share "
            "the run. Choose a folder or a URL that all of them see."
        )


def _interventions(given: Sequence[str]) -> list[str]:
    if not given:
        raise RunError("No intervention was given; expected at least one, such as none or bapa.")
    return list(dict.fromkeys(canonical(spec) for spec in given))
