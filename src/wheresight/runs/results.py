"""The schema of results.json: every number of a grid run, with its interval and its origin.

The file is made from the records alone by :func:`wheresight.runs.summarise.summarise`. A number
that cannot be computed is null and says why, so no reader ever meets NaN. Within
``schema_version`` 1 a field is never renamed, removed, or given another meaning. The page
docs/results_schema.md is made from these models by ``python -m wheresight.runs.schema_page``.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from wheresight.errors import RunError
from wheresight.runs.json_file import read_document

SCHEMA_VERSION = 1
FILE_NAME = "results.json"

Protocol = Literal["paper", "balanced"]


class Model(BaseModel):
    """Base of the schema: unknown fields are refused, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Estimate(Model):
    """A number and its bootstrap interval; in a comparison, the paired difference b - a."""

    value: float | None = Field(description="The point estimate; null when it is undefined.")
    low: float | None = Field(description="Lower end of the interval; null when it is undefined.")
    high: float | None = Field(description="Upper end of the interval; null when it is undefined.")
    reason: str | None = Field(
        default=None, description="Why value, low or high is null; null when all three are given."
    )

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        missing = None in (self.value, self.low, self.high)
        if missing != (self.reason is not None):
            raise ValueError("an Estimate has a reason exactly when one of its numbers is null")
        return self

    @classmethod
    def of(
        cls, value: float, low: float, high: float, reason: str = "It is undefined here."
    ) -> Estimate:
        """Return an estimate; numbers that are not finite become null, for the given reason."""
        numbers = [float(x) if math.isfinite(x) else None for x in (value, low, high)]
        return cls(
            value=numbers[0],
            low=numbers[1],
            high=numbers[2],
            reason=reason if None in numbers else None,
        )

    @classmethod
    def undefined(cls, reason: str) -> Estimate:
        """Return an estimate without numbers, for the given reason."""
        return cls(value=None, low=None, high=None, reason=reason)


class Rates(Model):
    """What is reported for each cell and, averaged over cells, for the whole grid.

    Shares are from 0 to 1. "Neither" is an answer that is no spelling of Yes or No; it is never
    right.
    """

    hit_rate: Estimate = Field(
        description="Share of positives answered Yes; 100 times it is the paper's accuracy."
    )
    false_alarm_rate: Estimate = Field(
        description="Share of negatives answered Yes, all kinds of negative together."
    )
    false_alarm_rate_by_kind: dict[str, Estimate] = Field(
        description="The same for each kind of negative alone: absent, sibling."
    )
    correct_rejection_rate: Estimate = Field(
        description="Share of negatives answered No; it is less than 1 - false_alarm_rate when "
        "some are answered with neither."
    )
    balanced_accuracy: Estimate = Field(description="Mean of hit_rate and correct_rejection_rate.")
    d_prime: Estimate = Field(
        description="Sensitivity z(hit rate) - z(false-alarm rate), log-linear correction."
    )
    criterion: Estimate = Field(
        description="Bias -(z(hit rate) + z(false-alarm rate)) / 2, log-linear correction; "
        "negative leans to Yes."
    )
    auc: Estimate = Field(
        description="Chance that a positive's margin exceeds a negative's of the same cell; "
        "ties count half."
    )
    auc_by_kind: dict[str, Estimate] = Field(
        description="The same against each kind of negative alone."
    )
    neither_rate_positive: Estimate = Field(
        description="Share of positives answered with neither Yes nor No."
    )
    neither_rate_negative: Estimate = Field(
        description="Share of negatives answered with neither Yes nor No."
    )
    margin_hit_rate: Estimate = Field(
        description="Share of positives whose margin is above 0 (Yes likelier than No)."
    )
    margin_false_alarm_rate: Estimate = Field(
        description="Share of negatives whose margin is above 0."
    )
    margin_balanced_accuracy: Estimate = Field(
        description="Balanced accuracy when the answer is read from the sign of the margin; "
        "a margin of exactly 0 counts half."
    )
    mean_margin_positive: Estimate = Field(description="Mean margin of positives, nats.")
    mean_margin_negative: Estimate = Field(description="Mean margin of negatives, nats.")


class CellResult(Rates):
    """The numbers of one cell."""

    cell: int = Field(ge=0, description="Cell of the key image, row-major from 0.")
    row: int | None = Field(
        default=None, description="Its row from 0; null if the grid is unknown."
    )
    column: int | None = Field(
        default=None, description="Its column from 0; null if the grid is unknown."
    )
    items: int = Field(ge=0, description="Number of items counted.")


class Spread(Model):
    """How much an accuracy differs between cells."""

    average: Estimate = Field(
        description="Mean of the cells' accuracies, percent (the paper's Avg)."
    )
    delta: Estimate = Field(
        description="Sample variance (ddof 1) of the cells' accuracies, percent squared "
        "(the paper's Delta)."
    )
    noise_floor: Estimate = Field(
        description="The Delta that a flat model would show with these items: "
        "item-by-cell mean square / items, percent squared."
    )
    delta_debiased: Estimate = Field(
        description="delta - noise_floor, percent squared; unbiased, so it may be below 0."
    )
    probit_sd: Estimate = Field(
        description="Standard deviation (ddof 1) of the cells' z-transformed accuracies: "
        "not squeezed by a ceiling."
    )
    worst: Estimate = Field(description="Accuracy of the worst cell, percent.")
    range: Estimate = Field(description="Best cell minus worst cell, percentage points.")


class Agreement(Model):
    """Whether an item keeps its answer as its key image moves."""

    consistent_rate: Estimate = Field(
        description="Share of items whose positive gets one and the same answer in all cells."
    )
    consistent_rate_if_independent: Estimate = Field(
        description="The same if cells were answered independently at their own rates."
    )
    flip_rate: Estimate = Field(
        description="Share of (item, pair of cells) in which the positive's two answers differ."
    )
    flip_rate_if_independent: Estimate = Field(
        description="The same if cells were answered independently at their own rates."
    )
    strict_accuracy_positive: Estimate = Field(
        description="Share of items whose positive is answered Yes in all cells."
    )
    strict_accuracy: Estimate = Field(
        description="Share of items right in all cells on the positive and on every negative."
    )


class OverallNumbers(Rates):
    """The numbers of the whole grid; each of the Rates is the mean of its cells' values."""

    spread: Spread = Field(description="Spread over cells of the hit rate (the paper's protocol).")
    balanced_spread: Spread | None = Field(
        description="Spread over cells of the balanced accuracy; null without negatives."
    )
    d_prime_sd: Estimate = Field(
        description="Standard deviation (ddof 1) over cells of d': spread of sensitivity."
    )
    criterion_sd: Estimate = Field(
        description="Standard deviation (ddof 1) over cells of the criterion: spread of bias."
    )
    agreement: Agreement = Field(description="Consistency of each item over cells.")


class CochranQ(Model):
    """Cochran's Q test that all cells have the same hit rate; items are the blocks."""

    statistic: float | None = Field(description="Q; null when no item's answers differ.")
    degrees_of_freedom: int | None = Field(description="Number of cells - 1; null when undefined.")
    p: float | None = Field(description="Upper tail of chi-squared; null when undefined.")
    informative_items: int = Field(
        description="Items that are neither right in all cells nor wrong in all: only they count."
    )
    reason: str | None = Field(default=None, description="Why it is null.")


class OverallResult(OverallNumbers):
    """The numbers of one intervention over the whole grid."""

    worst_cell: int | None = Field(description="Cell with the lowest hit rate (first, if tied).")
    balanced_worst_cell: int | None = Field(
        description="Cell with the lowest balanced accuracy (first, if tied); null without "
        "negatives."
    )
    cochran_q: CochranQ = Field(description="Test that the hit rate is the same in all cells.")


class InterventionResult(Model):
    """All numbers of one intervention."""

    intervention: str = Field(description="Canonical spec; 'none' is the model as published.")
    cells: list[CellResult] = Field(description="One entry per cell, in cell order.")
    overall: OverallResult = Field(description="Over the whole grid.")
    warnings: list[str] = Field(
        description="Sentences that a reader of these numbers must see, such as a constant answer."
    )


class CellComparison(Rates):
    """Paired differences b - a in one cell."""

    cell: int = Field(ge=0, description="Cell of the key image, row-major from 0.")


class McNemar(Model):
    """McNemar's test that a and b are right equally often in one cell on one question."""

    question: str = Field(description="positive, absent or sibling.")
    cell: int = Field(ge=0, description="Cell of the key image, row-major from 0.")
    items: int = Field(description="Number of items compared.")
    only_a_right: int = Field(description="Items that a has right and b has wrong.")
    only_b_right: int = Field(description="Items that b has right and a has wrong.")
    method: str = Field(
        description="exact binomial (fewer than 25 discordant items), mid-p binomial (25 or more), "
        "or clustered chi-squared (several items share a key image)."
    )
    p: float = Field(ge=0, le=1, description="Two-sided p, uncorrected.")
    p_holm: float = Field(
        ge=0, le=1, description="The same after Holm's correction over this comparison's tests."
    )


class CriterionShift(Model):
    """The part of Delta's change that a pure criterion shift explains."""

    shift: Estimate = Field(
        description="The one probit constant which, added to every cell of a, gives b's average."
    )
    delta_shifted: Estimate = Field(
        description="Delta of a after that shift, percent squared: what b's Delta would be had "
        "only the criterion moved."
    )
    share: Estimate = Field(
        description="(delta of a - delta_shifted) / (delta of a - delta of b); null when the "
        "interval of that denominator contains 0."
    )


class Comparison(Model):
    """Paired differences b - a between two interventions on the same items and replicates."""

    a: str = Field(description="Canonical spec of the reference.")
    b: str = Field(description="Canonical spec that is compared with it.")
    cells: list[CellComparison] = Field(description="Differences b - a, one entry per cell.")
    overall: OverallNumbers = Field(description="Differences b - a over the whole grid.")
    mcnemar: list[McNemar] = Field(description="One test for each (question, cell).")
    criterion_shift: CriterionShift = Field(description="How much of Delta's change is criterion.")


class Grid(Model):
    """The shape of the grid of cells."""

    rows: int = Field(ge=1, description="Number of rows.")
    columns: int = Field(ge=1, description="Number of columns.")


class Counts(Model):
    """How much was counted and how much was left out."""

    rows: int = Field(description="Records read.")
    items: int = Field(description="Items counted: complete in every intervention.")
    items_left_out: int = Field(
        description="Items seen but not counted because a (cell, question) row is missing in some "
        "intervention, or, under the balanced protocol, because they have no negative."
    )
    clusters: int = Field(description="Different key images among the items counted.")
    cells: int = Field(description="Number of cells.")
    questions: dict[str, int] = Field(
        description="For each question, the number of counted items that ask it."
    )


class Bootstrap(Model):
    """How the intervals were made."""

    replicates: int = Field(description="Number of replicates.")
    seed: int = Field(description="Seed of the draw, which all interventions share.")
    level: float = Field(gt=0, lt=1, description="Coverage the intervals aim at.")
    cluster: str = Field(description="The record column that is resampled.")
    clusters: int = Field(description="How many different values it has among the items counted.")
    method: str = Field(description="Kind of interval.")


class Environment(Model):
    """Where and when the run was made."""

    date: str = Field(description="UTC time at which the summary was made, ISO 8601.")
    versions: dict[str, str] = Field(description="Version of Python and of each library used.")
    hardware: dict[str, JsonValue] = Field(description="Machine, processor, accelerator.")
    seeds: dict[str, int] = Field(description="Every seed of the run, by what it seeds.")

    @classmethod
    def capture(
        cls, *, seeds: dict[str, int] | None = None, hardware: dict[str, Any] | None = None
    ) -> Environment:
        """Describe this process; ``hardware`` entries are added to what can be found out."""
        versions = {"python": platform.python_version()}
        for name in _LIBRARIES:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        found: dict[str, JsonValue] = {
            "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
            "cpus": os.cpu_count(),
        }
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            found["accelerator"] = torch.cuda.get_device_name()
            found["cuda"] = torch.version.cuda
        return cls(
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            versions=versions,
            hardware=found | (hardware or {}),
            seeds=seeds or {},
        )


_LIBRARIES = (
    "wheresight",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "peft",
    "trl",
    "pillow",
    "numpy",
    "scipy",
    "pyarrow",
    "datasets",
    "pydantic",
    "ray",
)


class Results(Model):
    """The whole of results.json."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    protocol: Protocol = Field(
        description="paper: positives only. balanced: positives and matched negatives."
    )
    command: str = Field(description="The command or call that made the run.")
    configuration: dict[str, JsonValue] = Field(
        description="The full configuration of the run: model, stimuli, probe, interventions."
    )
    environment: Environment = Field(description="Versions, hardware, seeds, date.")
    bootstrap: Bootstrap = Field(description="How the intervals were made.")
    grid: Grid | None = Field(description="Shape of the grid; null if it is not known.")
    counts: Counts = Field(description="What was counted.")
    interventions: list[InterventionResult] = Field(
        description="One entry per intervention; the baseline first."
    )
    comparisons: list[Comparison] = Field(
        description="Paired comparisons, by default each intervention with the baseline."
    )

    def intervention(self, spec: str) -> InterventionResult:
        """Return the numbers of one intervention; RunError if it is not in the file."""
        for result in self.interventions:
            if result.intervention == spec:
                return result
        known = ", ".join(repr(result.intervention) for result in self.interventions)
        raise RunError(f"These results have no intervention {spec!r}. They have: {known}.")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of results.json."""
    return Results.model_json_schema()


def write(results: Results, path: str | Path) -> Path:
    """Write results.json and return its path; a folder is given the usual file name.

    The file appears whole or not at all. Raises RunError when it cannot be written.
    """
    path = _file(path)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"The results could not be written to {path}: {error}. The records are safe: free some "
            f"space, or allow writing there, and run `wheresight report {path.parent}`."
        ) from error
    return path


def read(path: str | Path) -> Results:
    """Read results.json from a file or its folder.

    Raises RunError when it is absent, of another schema version, or not a results file.
    """
    return read_document(_file(path), Results, SCHEMA_VERSION, "results")


def _file(path: str | Path) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path
