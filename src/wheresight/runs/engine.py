"""Run a probe into a folder: work units, resume, and nothing computed twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wheresight.probes.grid import GridProbe
from wheresight.runs.records import record_table
from wheresight.runs.store import RunFolder, content_name
from wheresight.stimuli.items import Item

if TYPE_CHECKING:
    from wheresight.lvlm.scoring import Scorer


@dataclass(frozen=True)
class Unit:
    """One part of the work: some items under one intervention."""

    name: str
    intervention: str
    rows: int


@dataclass(frozen=True)
class Shard:
    """Some items and the units that are still to do on them; they share pictures and features."""

    items: tuple[Item, ...]
    todo: tuple[Unit, ...]


@dataclass(frozen=True)
class Plan:
    """What a run is made of and what of it is left to do."""

    shards: tuple[Shard, ...]
    rows_total: int
    rows_todo: int


def plan(probe: GridProbe, interventions: Sequence[str], folder: RunFolder) -> Plan:
    """Name every unit by what decides its records, and find those without a part."""
    identity = probe.settings.model_dump(mode="json")
    shards, total = [], 0
    for items in probe.shards():
        rows = sum(probe.rows_per_item(item) for item in items)
        units = [
            Unit(_unit_name(identity, items, intervention), intervention, rows)
            for intervention in interventions
        ]
        total += rows * len(units)
        todo = tuple(unit for unit in units if not folder.has(unit.name))
        if todo:
            shards.append(Shard(tuple(items), todo))
    left = sum(unit.rows for shard in shards for unit in shard.todo)
    return Plan(tuple(shards), total, left)


def _unit_name(identity: dict[str, Any], items: Sequence[Item], intervention: str) -> str:
    return content_name(
        {
            "identity": identity,
            "items": [asdict(item) for item in items],
            "intervention": intervention,
        }
    )


def execute(
    probe: GridProbe,
    shards: Sequence[Shard],
    folder: RunFolder,
    scorer: Scorer,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Do the units of some shards; each part is on disk before the next begins."""
    for shard in shards:
        shown, encoded = probe.show(scorer, shard.items)
        for unit in shard.todo:
            rows = probe.measure(scorer, shown, encoded, unit.intervention, advance)
            folder.write(unit.name, record_table(rows, unit.name))
