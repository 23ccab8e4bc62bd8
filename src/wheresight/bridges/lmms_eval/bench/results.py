"""The schema of bench.json: lmms-eval's scores, with intervals and paired differences.

Within ``schema_version`` 1 a field is never renamed, removed, or given another meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from wheresight.runs.results import Bootstrap, Environment, Estimate, Model

SCHEMA_VERSION = 1
FILE_NAME = "bench.json"

Scale = Literal["share", "score"]


class Entry(Model):
    """One number of one task under one intervention."""

    intervention: str = Field(description="Canonical spec.")
    official: float = Field(description="What lmms-eval's own code made of the answers.")
    estimate: Estimate = Field(
        description="The same, with an interval from the answers of each document, clustered by "
        "source picture; without one where the score is not an average of documents."
    )
    standard_error: float | None = Field(
        description="Standard deviation of the bootstrap replicates; null where there are none, "
        "or all are alike."
    )
    minus_first: Estimate | None = Field(
        default=None,
        description="Paired difference from the first intervention, on the same documents and the "
        "same draws; null for the first.",
    )
    p: float | None = Field(
        default=None,
        description="McNemar's test against the first, clustered by picture; null where answers "
        "are not right or wrong, and for the first.",
    )


class Metric(Model):
    """One number of one task."""

    name: str = Field(description="lmms-eval's name, or a part of it behind a comma.")
    label: str = Field(description="In words.")
    unit: Scale = Field(description="share: 0 to 1; score: as the benchmark counts (MME: to 200).")
    higher_is_better: bool | None = Field(description="As the task says; null if it does not.")
    documents: int = Field(description="How many documents it is of.")
    own: bool = Field(
        description="True where lmms-eval has no such number and it is made from its samples: a "
        "part of a score, such as a category."
    )
    entries: list[Entry] = Field(description="One an intervention, in their order.")


class Task(Model):
    """One benchmark."""

    name: str = Field(description="As lmms-eval knows it.")
    title: str = Field(description="For people.")
    documents: int = Field(description="Questions that were asked.")
    pictures: int = Field(
        description="Clusters: source pictures where the task tells them, else the different "
        "pictures, or sets of pictures, that documents show."
    )
    data: str = Field(description="Where the data came from: a hub id, or a local folder.")
    note: str = Field(default="", description="How it differs from lmms-eval's task of that kind.")
    metrics: list[Metric] = Field(description="The first is the one that tables show.")

    def metric(self, name: str) -> Metric | None:
        """A metric by its name."""
        return next((one for one in self.metrics if one.name == name), None)


class Bench(Model):
    """The whole file."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    command: str = Field(description="The command or call that made it.")
    configuration: dict[str, JsonValue] = Field(description="Everything that decides the answers.")
    environment: Environment = Field(description="Versions and hardware.")
    bootstrap: Bootstrap = Field(description="How the intervals were made.")
    interventions: list[str] = Field(description="Canonical specs; the first is the reference.")
    tasks: list[Task] = Field(description="In the order in which they were asked for.")
    cautions: list[str] = Field(description="What a reader must be told before the numbers.")

    def task(self, name: str) -> Task | None:
        """A task by its name."""
        return next((one for one in self.tasks if one.name == name), None)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return Bench.model_json_schema()
