"""The schema of compare.json: robustness and awareness of every intervention, side by side.

The file is made from the records of probes and evaluations alone. A number that cannot be computed
is null and says why. Within `schema_version` 1 a field is never renamed, removed, or given another
meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from wheresight.runs.json_file import document_of, read_document
from wheresight.runs.places import Place
from wheresight.runs.results import Estimate, Model

SCHEMA_VERSION = 1
FILE_NAME = "compare.json"


# Ends of differences nearer to 0 are written as 0.0 points, and rounding alone can make them.
RESOLUTION = 0.0005


def direction(difference: Estimate | None) -> int:
    """1 where a difference's whole interval lies above 0, -1 where below, else 0.

    An end that is within RESOLUTION of 0 counts as 0, so that the answer is the one that a reader
    of the rounded numbers gives.
    """
    if difference is None or difference.low is None or difference.high is None:
        return 0
    return int(difference.low > RESOLUTION) - int(difference.high < -RESOLUTION)


class Compared(Model):
    """A number of one intervention, and how it differs from that of the reference."""

    estimate: Estimate = Field(description="The number itself.")
    difference: Estimate | None = Field(
        description="Paired difference to the reference; null for the reference."
    )


class ProbeNumbers(Model):
    """What one probe says of one intervention."""

    probe: str = Field(description="Label of the probe.")
    strict_accuracy: Compared = Field(
        description="Share of items right in every cell, on the positive and on every negative."
    )
    flip_rate: Compared = Field(
        description="Share of (item, pair of cells) in which the positive's two answers differ."
    )
    delta: Compared = Field(
        description="Variance over cells of the hit rate, percent squared: the paper's Delta."
    )
    delta_debiased: Compared = Field(description="The same less what chance alone would make.")
    balanced_delta_debiased: Compared = Field(
        description="Variance over cells of the balanced accuracy, percent squared, less what "
        "chance alone would make."
    )
    auc: Compared = Field(
        description="Chance that a positive's margin exceeds a negative's of the same cell."
    )
    balanced_accuracy: Compared = Field(description="Mean of hit rate and correct-rejection rate.")
    hit_rate: Compared = Field(description="Share of positives answered Yes.")
    false_alarm_rate: Compared = Field(description="Share of negatives answered Yes.")
    warnings: list[str] = Field(description="What a reader of these numbers must know.")


class BenchmarkNumbers(Model):
    """What one benchmark says of one intervention."""

    benchmark: str = Field(description="Label of the benchmark.")
    accuracy: Compared = Field(description="Share of right answers.")
    chance_corrected: Compared = Field(
        description="(accuracy - chance) / (1 - chance): 0 is guessing, 1 is all right."
    )
    unread: float | None = Field(
        description="Share of answers that name no option; null where the reader cannot say."
    )


class Standing(Model):
    """Where an intervention stands on the plane."""

    on_front: bool = Field(
        description="Whether no other intervention's point is at least as good on both axes and "
        "better on one; point estimates alone."
    )
    settled: bool = Field(
        description="Whether the intervals of the paired differences leave no doubt of it."
    )
    dominated_by: list[str] = Field(description="Interventions whose points dominate this one.")


class Placed(Model):
    """One intervention with everything that is known of both sides."""

    intervention: str = Field(description="Canonical spec; 'none' is the model as published.")
    robustness: Compared = Field(description="Mean over probes of the strict accuracy.")
    awareness: Compared = Field(
        description="Mean over benchmarks of the chance-corrected accuracy."
    )
    standing: Standing = Field(description="Where it stands on the plane.")
    probes: list[ProbeNumbers] = Field(description="One entry for each probe.")
    benchmarks: list[BenchmarkNumbers] = Field(description="One entry for each benchmark.")
    verdict: str = Field(description="A few words.")
    sentence: str = Field(description="The same with its numbers, to follow the name.")


class ProbeTest(Model):
    """One probe: one way of moving pictures."""

    label: str = Field(description="What it is called here.")
    folders: list[str] = Field(description="Where its records lie.")
    settings: dict[str, JsonValue] = Field(description="What decides its records.")
    items: int = Field(ge=0, description="Items counted: complete under every intervention.")
    items_left_out: int = Field(ge=0, description="Items seen but not counted.")
    clusters: int = Field(ge=0, description="Different key pictures among those counted.")
    cells: int = Field(ge=1, description="Cells of the grid.")


class BenchmarkTest(Model):
    """One benchmark of spatial awareness."""

    label: str = Field(description="What it is called here.")
    benchmark: str = Field(description="Its spec, every option that was given included.")
    letters: bool = Field(description="Whether letters were asked for.")
    folders: list[str] = Field(description="Where its records lie.")
    questions: int = Field(ge=0, description="Number of questions.")
    clusters: int = Field(ge=0, description="Source pictures or sets.")
    chance: float = Field(description="Accuracy of guessing.")
    majority: float = Field(description="Accuracy of always giving the most frequent right answer.")
    blind: float | None = Field(
        description="Chance-corrected accuracy on blank pictures; null if not asked for."
    )
    blind_under: str | None = Field(description="The intervention of `blind`.")


class Missing(Model):
    """An intervention that is not on the plane."""

    intervention: str = Field(description="Canonical spec.")
    lacks: list[str] = Field(description="Labels of probes and benchmarks that do not have it.")


class LeftOut(Model):
    """A benchmark that does not count as awareness."""

    benchmark: str = Field(description="Its spec.")
    folder: str = Field(description="Where it lies.")
    reason: str = Field(description="Why it does not count.")


class Multiplicity(Model):
    """How many differences were looked at."""

    differences: int = Field(ge=0, description="Paired differences with an interval in this file.")
    excluding_zero: int = Field(ge=0, description="How many of these intervals do not hold 0.")
    expected_by_chance: float = Field(
        description="How many would not hold 0 on average if no intervention did anything: "
        "(1 - level) times `differences`."
    )
    pairs: int = Field(
        ge=0, description="Pairs of interventions that were compared on each axis for the front."
    )


class Draws(Model):
    """How the intervals were made."""

    replicates: int = Field(description="Bootstrap replicates.")
    seed: int = Field(description="Seed of the draws.")
    level: float = Field(gt=0, lt=1, description="Coverage that intervals aim at.")
    method: str = Field(description="Kind of interval, and how tests are combined.")


class Verdict(Model):
    """The whole of compare.json."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    command: str = Field(description="The command or call that made it.")
    model: dict[str, JsonValue] = Field(
        description="The model that all folders share: name, revision, dtype, attention, adapter."
    )
    reference: str = Field(description="What differences are to.")
    reader: str = Field(description="Which way of reading answers accuracies are by.")
    bootstrap: Draws = Field(description="How the intervals were made.")
    probes: list[ProbeTest] = Field(description="What robustness was measured by.")
    benchmarks: list[BenchmarkTest] = Field(description="What awareness was measured by.")
    interventions: list[Placed] = Field(
        description="Those measured by every probe and benchmark; the reference first."
    )
    missing: list[Missing] = Field(description="Those measured by some only.")
    left_out: list[LeftOut] = Field(description="Benchmarks that do not count as awareness.")
    multiplicity: Multiplicity = Field(description="How many differences were looked at.")
    cautions: list[str] = Field(description="What to know before reading any number.")


def read(path: str | Path) -> Verdict:
    """Read compare.json from a file or its folder.

    Raises RunError when it is absent, of another schema version, or not a comparison.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    return read_document(path, Verdict, SCHEMA_VERSION, "comparison")


def read_from(place: Place) -> Verdict:
    """Read compare.json from a folder or a store; raises as `read` does."""
    label = place.label(FILE_NAME)
    return document_of(lambda: place.read(FILE_NAME), label, Verdict, SCHEMA_VERSION, "comparison")


def written(verdict: Verdict) -> bytes:
    """The bytes of compare.json."""
    return (verdict.model_dump_json(indent=2) + "\n").encode()
