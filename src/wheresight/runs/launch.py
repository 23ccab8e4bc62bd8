"""Which share of a run this process has, where torchrun or Slurm started several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wheresight.errors import RunError


@dataclass(frozen=True)
class Share:
    """One of `world` processes that do one run together.

    Attributes:
        rank: which, from 0.
        world: how many.
        local: which among those on this machine, or None if it is not known.
        told_by: the variables that said so.
    """

    rank: int = 0
    world: int = 1
    local: int | None = None
    told_by: str = ""

    def has(self, shard: int) -> bool:
        """Is this shard this process's own? Shards are dealt out in turn, done or not."""
        return shard % self.world == self.rank


def share_of_launcher(environ: Mapping[str, str]) -> Share:
    """Read the share from RANK and WORLD_SIZE, a Slurm array, or a Slurm step.

    In an array of steps with several tasks, each task of each array member has a share of its own.

    Raises:
        RunError: numbers that are none, or a rank beyond the world.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:
        rank, world = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
        local = _number(environ, "LOCAL_RANK") if "LOCAL_RANK" in environ else None
        return _checked(rank, world, local, "RANK and WORLD_SIZE")
    rank, world, told = 0, 1, []
    if "SLURM_ARRAY_TASK_ID" in environ and "SLURM_ARRAY_TASK_COUNT" in environ:
        first = _number(environ, "SLURM_ARRAY_TASK_MIN", 0)
        step = _number(environ, "SLURM_ARRAY_TASK_STEP", 1) or 1
        rank = (_number(environ, "SLURM_ARRAY_TASK_ID") - first) // step
        world = _number(environ, "SLURM_ARRAY_TASK_COUNT")
        told.append("SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT")
    # What the step says goes before what the whole job was given: a step may be smaller.
    tasks = next((n for n in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if n in environ), None)
    local = None
    if "SLURM_PROCID" in environ and tasks is not None:
        inside = _number(environ, tasks)
        rank, world = rank * inside + _number(environ, "SLURM_PROCID"), world * inside
        local = _number(environ, "SLURM_LOCALID") if "SLURM_LOCALID" in environ else None
        told.append(f"SLURM_PROCID and {tasks}")
    return _checked(rank, world, local, ", ".join(told))


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name, "" if default is None else str(default))
    if not text.strip().isdecimal():
        raise RunError(
            f"The environment has {name}={text!r}; expected a whole number, 0 or more. It tells "
            "which share of the work is this process's: unset it to do all of the work here."
        )
    return int(text)


def _checked(rank: int, world: int, local: int | None, told_by: str) -> Share:
    if not 0 <= rank < max(world, 1) or world < 1:
        raise RunError(
            f"The environment says that this is process {rank} of {world} ({told_by}); expected "
            "0 to one less than their number. Unset these variables to do all of the work here."
        )
    return Share(rank, world, local, told_by) if world > 1 else Share()
