"""The schema of tune.json: which setting was chosen on which questions, and what it does on others.

Numbers of the validation part were used for choosing, so the highest of them is optimistic: report
those of the test part. A number that cannot be computed is null and says why. Within
`schema_version` 1 a field is never renamed, removed, or given another meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from wheresight.runs.evaluation_results import BenchmarkResult
from wheresight.runs.json_file import document_of, read_document
from wheresight.runs.places import Place
from wheresight.runs.results import Bootstrap, Environment, Estimate, Model

SCHEMA_VERSION = 1
FILE_NAME = "tune.json"


class AxisValues(Model):
    """A parameter that was tuned."""

    name: str = Field(description="The parameter, as in a spec.")
    values: list[str] = Field(description="Its values, as they were given.")


class GridTuned(Model):
    """The settings that were chosen among."""

    text: str = Field(description="The spec with its lists in braces.")
    axes: list[AxisValues] = Field(description="The parameters that vary.")
    source: str | None = Field(description="Where the grid is published; null if it was given.")
    passes: list[str] = Field(
        description="What was run on the validation part: settings of the grid, or what they are "
        "put together from."
    )


class ChosenBy(Model):
    """The number that was made as high as possible."""

    objective: str = Field(description="Its name, such as accuracy.")
    label: str = Field(description="Its name for people.")
    reader: str = Field(description="How answers were read, as in evaluation.json.")


class PartUsed(Model):
    """Some of the benchmark's questions."""

    benchmark: str = Field(description="The spec that opens them again.")
    questions: int = Field(ge=1, description="How many there are.")
    pictures: int = Field(ge=1, description="Source pictures or sets that they are about.")


class Split(Model):
    """Which questions the choice was made on, and which it is reported on."""

    kind: Literal["sets", "published"] = Field(
        description="sets: no set and no picture is in both parts. published: rows drawn as in "
        "AdaptVis's code (arXiv 2503.01773), which cuts sets and pictures."
    )
    validation: PartUsed = Field(description="What the choice was made on.")
    test: PartUsed = Field(description="What it is reported on.")
    shared: int = Field(
        ge=0,
        description="Test questions about a set or picture that validation questions are about.",
    )


class CandidateResult(Model):
    """One setting on the validation part. Used for choosing: optimistic, not a result."""

    spec: str = Field(description="Canonical spec; 'none' is the model as it is.")
    values: dict[str, str] = Field(description="Its value of each parameter that varies.")
    objective: Estimate = Field(description="The number it is chosen by.")
    minus_none: Estimate | None = Field(
        description="Paired difference to the model as it is; null for that itself."
    )
    unsure: float | None = Field(
        description="Share of questions on which the model's confidence is below the threshold; "
        "null for methods without one."
    )
    chosen_again: float | None = Field(
        description="Share of bootstrap draws of the validation part in which it would have been "
        "chosen; null where there are no draws."
    )


class Choice(Model):
    """What was chosen."""

    spec: str = Field(description="Canonical spec; 'none' if nothing beats the model as it is.")
    tied: list[str] = Field(
        description="Others that reach the same. Of these the one whose parameters are nearest to "
        "those that leave the model as it is was taken, then the first in the grid."
    )
    at_the_end: list[str] = Field(
        description="Parameters whose chosen value is the least or greatest that was tried: a "
        "better one may lie beyond."
    )


class Compared(Model):
    """The chosen setting beside the model as it is, on questions it was not chosen on."""

    none: Estimate = Field(description="The objective under the model as it is.")
    chosen: Estimate | None = Field(description="Under the chosen setting; null if that is none.")
    minus_none: Estimate | None = Field(description="Their paired difference.")
    result: BenchmarkResult = Field(
        description="All readings and baselines of both, as in evaluation.json."
    )


class Look(Model):
    """One choice that was tested on this test part."""

    date: str = Field(description="UTC time of the first look, ISO 8601.")
    pictures: str = Field(description="A hash of the names of the test part's pictures.")
    benchmark: str = Field(description="The test part.")
    configuration: dict[str, JsonValue] = Field(description="Of the evaluation.")
    objective: str = Field(description="What was chosen by.")
    reader: str = Field(description="How answers were read.")
    chosen: str = Field(description="The setting that was chosen.")

    def same(self, other: Look) -> bool:
        """Is it the same choice, whenever it was made?"""
        return self.model_copy(update={"date": other.date}) == other

    def of_one_part(self, other: Look) -> bool:
        """Is it the same model on the same pictures?"""
        models = [
            (look.pictures, look.configuration.get("model"), look.configuration["model_revision"])
            for look in (self, other)
        ]
        return models[0] == models[1]


class Tuned(Model):
    """The whole of tune.json."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    command: str = Field(description="The command or call that made the run.")
    configuration: dict[str, JsonValue] = Field(
        description="Model and its revision, precision, attention, how questions were asked."
    )
    environment: Environment | None = Field(description="Where records were last computed.")
    bootstrap: Bootstrap = Field(description="How the intervals were made.")
    grid: GridTuned = Field(description="The settings that were chosen among.")
    chosen_by: ChosenBy = Field(description="The number to make high.")
    split: Split = Field(description="What was chosen on, and what is reported.")
    candidates: list[CandidateResult] = Field(
        description="All settings on the validation part, the model as it is first. Used for "
        "choosing: optimistic."
    )
    choice: Choice = Field(description="What was chosen.")
    test: Compared = Field(description="On the test part: the result.")
    transfer: list[Compared] = Field(description="On other benchmarks, which had no say.")
    looks: list[Look] = Field(
        description="All choices that this folder has tested on these test pictures, this one "
        "included. With more than one, the best of their test numbers is optimistic too."
    )
    caution: str | None = Field(description="What to know before reading any number.")

    @property
    def stock_is_best(self) -> bool:
        """Whether nothing tuned beats the model as it is."""
        return self.choice.spec == "none"


def read(path: str | Path) -> Tuned:
    """Read tune.json from a file or its folder.

    Raises:
        RunError: when it is absent, of another schema version, or not a tuning.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    return read_document(path, Tuned, SCHEMA_VERSION, "tuning")


def read_from(place: Place) -> Tuned:
    """Read tune.json from a folder or a store; raises as `read` does."""
    label = place.label(FILE_NAME)
    return document_of(lambda: place.read(FILE_NAME), label, Tuned, SCHEMA_VERSION, "tuning")


def written(tuned: Tuned) -> bytes:
    """The bytes of tune.json."""
    return (tuned.model_dump_json(indent=2) + "\n").encode()
