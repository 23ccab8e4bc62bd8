"""The schema of findings.json: what every diagnostic found, each number with its interval.

The file is made from the records alone. A number that is undefined is null and says why. Within
`schema_version` 1 a field is never renamed, removed, or given another meaning.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, JsonValue

from wheresight.probes.diagnostic import Diagnostic, Finding
from wheresight.runs.results import Bootstrap, Environment, Estimate, Model

FILE_NAME = "findings.json"


class FoundNumber(Model):
    """One number of one diagnostic under one intervention, or a paired difference of two."""

    name: str = Field(description="Name for programs, such as psi.full.")
    label: str = Field(description="Name for people.")
    estimate: Estimate = Field(description="The number and its interval, by key picture.")
    unit: str = Field(
        description="share, percent, squared, index, z, nats, or empty for a plain number."
    )
    intervention: str = Field(description="Canonical spec that it was measured under.")
    versus: str | None = Field(description="Spec that it is the difference to; null otherwise.")
    where: dict[str, int | str] = Field(description="Layer, head, cell and the like.")
    definition: Literal["ours", "paper"] = Field(description="Whose definition it is.")
    headline: bool = Field(description="Whether the page shows it in its main table.")
    note: str | None = Field(description="What to keep in mind with it.")

    @classmethod
    def of(cls, finding: Finding) -> FoundNumber:
        """Return the model of a finding."""
        whole = all(math.isfinite(x) for x in (finding.value, finding.low, finding.high))
        known = "It is undefined here." if not math.isfinite(finding.value) else _NO_INTERVAL
        return cls(
            name=finding.name,
            label=finding.label,
            estimate=Estimate.of(
                finding.value,
                finding.low,
                finding.high,
                reason=known if whole or not finding.note else finding.note,
            ),
            unit=finding.unit,
            intervention=finding.intervention,
            versus=finding.versus or None,
            where=dict(finding.where),
            definition="paper" if finding.definition == "paper" else "ours",
            headline=finding.headline,
            note=finding.note or None,
        )


_NO_INTERVAL = "It has no interval: fewer than two key pictures, or nothing that varies."


class Diagnosed(Model):
    """One diagnostic: what it asks, how it was run, and what it found."""

    name: str = Field(description="Its name.")
    title: str = Field(description="Its heading.")
    question: str = Field(description="The question that it answers.")
    paper: str | None = Field(description="Where it was published; null for our own.")
    reading: str = Field(description="How to read its pictures.")
    caveats: list[str] = Field(description="What its numbers do not say.")
    options: dict[str, JsonValue] = Field(description="Every option's value.")
    version: int = Field(description="Version of the meaning of its records.")
    interventions: list[str] = Field(description="What it was run under; the reference first.")
    records: dict[str, str] = Field(description="The file of records of each intervention.")
    left_out: list[str] = Field(description="Interventions it could not be run under, and why.")
    findings: list[FoundNumber] = Field(description="What it found.")


class Diagnosis(Model):
    """The whole of findings.json."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    command: str = Field(description="The command or call that made the run.")
    configuration: dict[str, JsonValue] = Field(description="Model, source, question, grid, seed.")
    environment: Environment | None = Field(description="Where records were last computed.")
    bootstrap: Bootstrap = Field(description="How the intervals were made.")
    diagnostics: list[Diagnosed] = Field(description="One entry a diagnostic, in order.")
    left_out: list[str] = Field(description="Diagnostics that this model cannot host, and why.")
    caution: str | None = Field(description="What to know before reading any number.")


def diagnosed(
    tool: Diagnostic,
    interventions: list[str],
    records: dict[str, str],
    left_out: list[str],
    findings: list[Finding],
) -> Diagnosed:
    """Return the entry of one diagnostic."""
    return Diagnosed(
        name=tool.name,
        title=tool.title,
        question=tool.question,
        paper=tool.paper or None,
        reading=tool.reading,
        caveats=list(tool.caveats),
        options=dict(tool.to_json()["params"]),
        version=tool.version,
        interventions=interventions,
        records=records,
        left_out=left_out,
        findings=[FoundNumber.of(finding) for finding in findings],
    )
