"""The schema of evaluation.json: what a model knows of place, beside what it costs not to look.

The file is made from the records alone by :func:`wheresight.runs.evaluation.summarise`. A number
that cannot be computed is null and says why. Within ``schema_version`` 1 a field is never renamed,
removed, or given another meaning. The page docs/evaluation_schema.md is made from these models by
``python -m wheresight.runs.schema_page evaluation``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue

from wheresight.errors import RunError
from wheresight.runs.json_file import read_document
from wheresight.runs.results import Bootstrap, Environment, Estimate, Model

SCHEMA_VERSION = 1
FILE_NAME = "evaluation.json"


class TogetherResult(Estimate):
    """Accuracy of pairs or sets of questions, which are right if all their questions are."""

    complete: int = Field(
        ge=0, description="How many were asked whole; value is the share of these."
    )
    incomplete: int = Field(ge=0, description="How many were asked in part; they are left out.")
    published_share: float | None = Field(
        default=None,
        description="As AdaptVis's released code counts (arXiv 2503.01773): those all right, over "
        "as many as the questions asked would make. On a part of a benchmark those that were cut "
        "count as wrong, so it stays below 1. Null where the questions are not all in pairs or "
        "sets of one size.",
    )


class YesNoResult(Model):
    """Measures of yes and no questions; a positive is one whose right answer is Yes."""

    accuracy: Estimate = Field(description="Share of right answers.")
    sensitivity: Estimate = Field(description="Share of positives answered Yes.")
    specificity: Estimate = Field(description="Share of negatives answered No.")
    balanced_accuracy: Estimate = Field(description="Mean of sensitivity and specificity.")
    precision: Estimate = Field(
        description="Share of Yes answers that are right; null where nothing was answered Yes."
    )
    f1: Estimate = Field(description="Harmonic mean of precision and sensitivity.")
    harmonic: Estimate = Field(
        description="Harmonic mean of sensitivity and specificity, which AdaptVis (arXiv "
        "2503.01773) calls F1."
    )
    yes_share: Estimate = Field(description="Share of Yes among all answers.")


class ControlAgreement(Model):
    """One question before and after a control: does the answer go where the thing went?

    Questions are those asked in both benchmarks, under the same intervention, by the same reader;
    answers are compared by their words. `right_both`, `right_plain_only`, `right_control_only` and
    `wrong_both` add up to 1, and so do `followed`, `stayed` and `otherwise`.
    """

    questions: int = Field(ge=0, description="Questions asked in both.")
    pictures: int = Field(ge=0, description="Source pictures or sets that they are about.")
    right_both: Estimate = Field(description="Share answered right in both.")
    right_plain_only: Estimate = Field(description="Share right before the change alone.")
    right_control_only: Estimate = Field(description="Share right after the change alone.")
    wrong_both: Estimate = Field(description="Share right in neither.")
    answer_changes: int = Field(
        ge=0, description="How many of them have another right answer after the change."
    )
    followed: Estimate = Field(
        description="Of those whose right answer changes from a to b: share answered a and then "
        "b, or b and then a. The second is wrong twice, but it moved as the thing did."
    )
    stayed: Estimate = Field(
        description="Of the same: share answered with the same words both times. An answer that "
        "does not depend on where things are gives 1 here, and 0 for followed."
    )
    otherwise: Estimate = Field(
        description="Of the same: the rest, answers that name no option included."
    )
    answer_stays: int = Field(
        ge=0, description="How many of them have the same right answer after the change."
    )
    same: Estimate = Field(
        description="Of those whose right answer stays: share answered with the same words both "
        "times."
    )
    options_move: int = Field(
        ge=0, description="How many of them list their options in another order or number."
    )
    same_place: Estimate = Field(
        description="Of those whose options move: share in which other words were picked, at the "
        "same place in the list. High values show answers by place in the list."
    )


class ReaderResult(Model):
    """What one way of reading answers makes of one benchmark under one intervention."""

    reader: str = Field(
        description="logp, mean_logp: the likeliest option, by its whole or its mean "
        "log-probability. exact, strict, first, last, letter: what the generated text names. "
        "published: as AdaptVis's released code reads text."
    )
    unread: float | None = Field(
        description="Share of answers that name no option; null for published, which does not say "
        "what was picked."
    )
    accuracy: Estimate = Field(description="Share of right answers.")
    macro_accuracy: Estimate = Field(description="Mean of the categories' accuracies.")
    chance_corrected: Estimate = Field(
        description="(accuracy - chance) / (1 - chance): 0 for guessing, below 0 for worse."
    )
    categories: dict[str, Estimate] = Field(description="Accuracy in each category.")
    sets: TogetherResult | None = Field(
        description="Accuracy of whole sets; null if the benchmark has none."
    )
    pairs: TogetherResult | None = Field(
        description="Accuracy of whole pairs; null if the benchmark has none."
    )
    yes_no: YesNoResult | None = Field(
        description="Where all questions are of yes and no; null elsewhere, and for published."
    )
    minus_first: Estimate | None = Field(
        default=None,
        description="Paired difference of accuracy to the first intervention; null for the first "
        "itself and for the blind baseline.",
    )
    agreement: ControlAgreement | None = Field(
        default=None,
        description="Beside the same benchmark without the control, where both were evaluated in "
        "this run; null elsewhere.",
    )


class Baselines(Model):
    """What those reach who do not look, or do not see where."""

    chance: float = Field(description="Accuracy of guessing among the options.")
    majority: float = Field(description="Accuracy of always giving the most frequent right answer.")
    majority_by_category: float = Field(description="The same, knowing the category.")
    present: float | None = Field(
        description="Accuracy of guessing among the options that are in the picture; null where "
        "that is not known."
    )
    blind: list[ReaderResult] | None = Field(
        description="The same model and questions on blank pictures; null if not asked for."
    )
    blind_under: str | None = Field(description="The intervention of the blind baseline.")


class InterventionAnswers(Model):
    """One benchmark under one intervention."""

    intervention: str = Field(description="Canonical spec; 'none' is the model as published.")
    readers: list[ReaderResult] = Field(description="One entry for each way of reading answers.")

    def reader(self, name: str) -> ReaderResult:
        """Return what one reader found; RunError if it is not in the file."""
        for found in self.readers:
            if found.reader == name:
                return found
        known = ", ".join(repr(found.reader) for found in self.readers)
        raise RunError(f"This evaluation has no reader {name!r}. It has: {known}.")


class BenchmarkResult(Model):
    """All numbers of one benchmark."""

    benchmark: str = Field(description="Its spec, every option that was given included.")
    control: str | None = Field(
        default=None, description="The control that it is under: mirror, swap, permute, ..."
    )
    plain: str | None = Field(
        default=None,
        description="The benchmark of this run that is the same without the control; null where "
        "there is none.",
    )
    questions: int = Field(ge=0, description="Number of questions.")
    pictures: int = Field(
        ge=0, description="Source pictures or sets, by which intervals are clustered."
    )
    category_questions: dict[str, int] = Field(
        default_factory=dict, description="Number of questions in each category."
    )
    baselines: Baselines = Field(description="What those reach who do not look.")
    interventions: list[InterventionAnswers] = Field(
        description="One entry for each intervention; the reference first."
    )

    def intervention(self, spec: str) -> InterventionAnswers:
        """Return the answers under one intervention; RunError if it is not in the file."""
        for found in self.interventions:
            if found.intervention == spec:
                return found
        known = ", ".join(repr(found.intervention) for found in self.interventions)
        raise RunError(f"This benchmark has no intervention {spec!r}. It has: {known}.")


class Evaluation(Model):
    """The whole of evaluation.json."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    command: str = Field(description="The command or call that made the run.")
    configuration: dict[str, JsonValue] = Field(
        description="Model and its revision, precision, attention, how questions were asked."
    )
    environment: Environment | None = Field(description="Where records were last computed.")
    bootstrap: Bootstrap = Field(description="How the intervals were made.")
    benchmarks: list[BenchmarkResult] = Field(description="One entry for each benchmark, in order.")
    caution: str | None = Field(description="What to know before reading any number.")

    def benchmark(self, name: str) -> BenchmarkResult:
        """Return the numbers of one benchmark; RunError if it is not in the file."""
        for found in self.benchmarks:
            if found.benchmark == name:
                return found
        known = ", ".join(repr(found.benchmark) for found in self.benchmarks)
        raise RunError(f"This evaluation has no benchmark {name!r}. It has: {known}.")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of evaluation.json."""
    return Evaluation.model_json_schema()


def read(path: str | Path) -> Evaluation:
    """Read evaluation.json from a file or its folder.

    Raises RunError when it is absent, of another schema version, or not an evaluation.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    return read_document(path, Evaluation, SCHEMA_VERSION, "evaluation")


def written(evaluation: Evaluation) -> bytes:
    """The bytes of evaluation.json."""
    return (evaluation.model_dump_json(indent=2) + "\n").encode()
