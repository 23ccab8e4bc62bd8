"""Run a probe into a folder: work units, resume, and nothing computed twice."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheresight.interventions.spec import beginning, parse, to_json
from wheresight.probes.grid import GridProbe
from wheresight.runs.records import SCHEMA_VERSION, record_table
from wheresight.runs.store import RunFolder, content_name
from wheresight.stimuli.items import Item

if TYPE_CHECKING:
    from wheresight.lvlm.scoring import Scorer
    from wheresight.runs.preparation import Preparation


@dataclass(frozen=True, slots=True)
class Unit:
    """One part of the work: some items under one intervention."""

    name: str
    intervention: str
    rows: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Some items and units on them; they share pictures and features.

    Attributes:
        number: of the run's shards, from 0; it hangs on nothing that is done or not.
        items: its items.
        todo: the units to do on them.
    """

    number: int
    items: tuple[Item, ...]
    todo: tuple[Unit, ...]

    @property
    def rows(self) -> int:
        """Questions in all its units."""
        return sum(unit.rows for unit in self.todo)

    def without(self, done: Collection[str]) -> Shard:
        """The same with the units that have no part yet."""
        left = tuple(unit for unit in self.todo if unit.name not in done)
        return Shard(self.number, self.items, left)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of; finished units are in it too."""

    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """Questions in all shards."""
        return sum(shard.rows for shard in self.shards)

    def units(self) -> list[str]:
        """The names of all units."""
        return [unit.name for shard in self.shards for unit in shard.todo]

    def left(self, done: Collection[str]) -> Plan:
        """What is left to do, where the units of these names have their parts."""
        shards = (shard.without(done) for shard in self.shards)
        return Plan(tuple(shard for shard in shards if shard.todo))

    def share(self, has: Callable[[int], bool]) -> Plan:
        """The shards of these numbers."""
        return Plan(tuple(shard for shard in self.shards if has(shard.number)))


def plan(probe: GridProbe, interventions: Sequence[str]) -> Plan:
    """Name every unit by what decides its records; nothing is read and no picture is touched.

    That is the schema of records, the probe's settings (model and its revision, dtype, attention,
    source and its hash, question, protocol, scoring, grid), the items and what stands beside them,
    and the intervention with every parameter's value, so that a default that changes makes
    another unit. How many workers there are, where, and what else is asked for changes no name.
    """
    run = content_name(
        {"schema": SCHEMA_VERSION, "settings": probe.settings.model_dump(mode="json")}
    )
    specs = {spec: json.dumps(to_json(spec), sort_keys=True) for spec in interventions}
    shards = []
    for number, items in enumerate(probe.shards()):
        rows = sum(probe.rows_per_item(item) for item in items)
        shown = content_name({"run": run, "items": [_decides(item) for item in items]})
        units = tuple(
            Unit(content_name({"items": shown, "intervention": full}), spec, rows)
            for spec, full in specs.items()
        )
        shards.append(Shard(number, tuple(items), units))
    return Plan(tuple(shards))


def _decides(item: Item) -> list[object]:
    return [
        item.id,
        item.key,
        item.caption,
        item.distractors,
        item.absent_caption,
        item.absent_from,
        item.sibling,
    ]


def execute(
    probe: GridProbe,
    shards: Sequence[Shard],
    folder: RunFolder,
    scorer: Scorer,
    preparation: Preparation,
    advance: Callable[[int], None] | None = None,
) -> Iterator[Shard]:
    """Do the units of some shards; parts are on disk before the next units begin.

    Yields each shard when it is done.
    """
    preparation.begin([shard.items for shard in shards], scorer.pictures_at_once)
    for n, shard in enumerate(shards):
        shown = probe.shown(shard.items)
        sees = any("vision" in i.acting() for unit in shard.todo for i in parse(unit.intervention))
        encoded = scorer.encode_prepared(
            functools.partial(preparation.take, n), len(shown), keep_pixels=sees
        )
        # Interventions that share the beginning of their prompts are asked together.
        together: dict[str, list[Unit]] = {}
        for unit in shard.todo:
            together.setdefault(beginning(unit.intervention), []).append(unit)
        for units in together.values():
            specs = [unit.intervention for unit in units]
            found = probe.measure(scorer, shown, encoded, specs, advance)
            for unit in units:
                rows = found[unit.intervention]
                folder.write(unit.name, record_table(rows, unit.name))
        yield shard
