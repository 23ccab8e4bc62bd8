"""What an evaluation consists of: some questions of a benchmark, each under some interventions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from wheresight.interventions.spec import to_json
from wheresight.probes.evaluate import shards
from wheresight.runs import evaluation_records
from wheresight.runs.hashed_records import find_whole
from wheresight.runs.places import Place
from wheresight.runs.progress import Progress
from wheresight.runs.store import content_name
from wheresight.stimuli.benchmarks import Benchmark, Question


@dataclass(frozen=True)
class Unit:
    """Some questions of one benchmark under one intervention."""

    name: str
    spec: str
    count: int


@dataclass(frozen=True)
class Shard:
    """Some questions of a benchmark with the units that are made of them."""

    benchmark: Benchmark
    control: str
    questions: tuple[Question, ...]
    units: tuple[Unit, ...]


class Few:
    """Some questions of a benchmark."""

    def __init__(self, shard: Shard) -> None:
        self.name = shard.benchmark.name
        self.fingerprint = shard.benchmark.fingerprint
        self._shard = shard

    def questions(self) -> Sequence[Question]:
        return self._shard.questions

    def picture(self, question: Question) -> Image.Image:
        return self._shard.benchmark.picture(question)


def plan(
    benchmark: Benchmark, control: str, specs: Sequence[str], settings: Mapping[str, Any]
) -> Iterator[Shard]:
    """Cut a benchmark into shards; what is measured of each is named by all that decides it.

    Args:
        benchmark: what is asked.
        control: the control that it is under; empty for none.
        specs: canonical specs of the interventions.
        settings: of the run, that decide answers.
    """
    for questions in shards(benchmark.questions()):
        units = []
        for spec in specs:
            decides = {
                "schema": evaluation_records.SCHEMA,
                "settings": dict(settings),
                "benchmark": benchmark.name,
                "fingerprint": benchmark.fingerprint,
                "control": control,
                "questions": [q.id for q in questions],
                "intervention": json.dumps(to_json(spec), sort_keys=True),
            }
            units.append(Unit(content_name(decides), spec, len(questions)))
        yield Shard(benchmark, control, tuple(questions), tuple(units))


def missing(place: Place, planned: Sequence[Shard]) -> list[Shard]:
    """What has no whole records in a place yet."""
    found = []
    for shard in planned:
        units = tuple(unit for unit in shard.units if find_whole(place, unit.name) is None)
        if units:
            found.append(Shard(shard.benchmark, shard.control, shard.questions, units))
    return found


def check_pictures(todo: Sequence[Shard], progress: Progress) -> None:
    """Look at every picture once, so that a bad one is found before a model loads."""
    progress.say("Looking at the pictures")
    seen: set[tuple[str, str]] = set()
    for shard in todo:
        for question in shard.questions:
            name = (shard.benchmark.name, question.picture)
            if name not in seen:
                seen.add(name)
                shard.benchmark.picture(question)
