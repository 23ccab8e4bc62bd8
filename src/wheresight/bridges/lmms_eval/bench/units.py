"""One benchmark under one intervention: where its answers lie, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheresight.report.texts import slug

PICTURES = "pictures.jsonl"


@dataclass(frozen=True)
class Unit:
    """A task under an intervention.

    Attributes:
        task: its name.
        spec: the intervention, canonical.
        folder: its own; the name holds a hash of all that decides the answers.
    """

    task: str
    spec: str
    folder: Path

    @classmethod
    def of(cls, root: Path, task: str, spec: str, content: str) -> Unit:
        """The unit whose answers are decided by what `content` is a hash of."""
        return cls(task, spec, root / f"{slug(task, 60)}-{slug(spec)}-{content[:12]}")

    def answers(self) -> Answers | None:
        """What lmms-eval has written; None while it is not all there."""
        for path in sorted(self.folder.rglob("*_results.json"), reverse=True):
            stamp = path.name.removesuffix("results.json")
            beside = path.with_name(f"{stamp}samples_{self.task}.jsonl")
            if not beside.is_file():
                continue
            try:
                results = json.loads(path.read_text(encoding="utf-8"))
                lines = beside.read_text(encoding="utf-8").splitlines()
                samples = [json.loads(line) for line in lines]
                count = results["n-samples"][self.task]["effective"]
            except (ValueError, KeyError):
                continue
            # A task with several filters is logged once for each, one after another.
            if len(samples) >= count and len(samples) % count == 0:
                return Answers(results, samples[: int(count)], self._pictures())
        return None

    def _pictures(self) -> dict[int, list[str]]:
        path = self.folder / PICTURES
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        found: dict[int, list[str]] = {}
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut off when its process was killed; it was written again later
            found[int(entry["document"])] = entry["pictures"]
        return found


@dataclass(frozen=True)
class Answers:
    """What lmms-eval wrote for a unit.

    Attributes:
        results: its results file.
        samples: its samples, one a document.
        pictures: hashes of the pictures that each document showed, by its number.
    """

    results: Mapping[str, Any]
    samples: list[dict[str, Any]]
    pictures: Mapping[int, list[str]]
