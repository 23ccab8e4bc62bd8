"""Alignment: is attention on the object asked about, and are answers right where it is?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wheresight.interventions.ranges import whole_number
from wheresight.probes.asking import asked, questions_of
from wheresight.probes.diagnostic import (
    CELL,
    ITEM,
    KEY,
    Column,
    Columns,
    Context,
    Diagnostic,
    Finding,
    Records,
)
from wheresight.probes.findings import Findings
from wheresight.probes.protocols import check_protocol
from wheresight.statistics.clustered import Clusters
from wheresight.statistics.ranking import clustered_auroc

if TYPE_CHECKING:
    from wheresight.probes.bench import Bench


@dataclass(frozen=True)
class Alignment(Diagnostic):
    """Overlap of attention with the object's box, and whether it tells right answers from wrong.

    AdaptVis (arXiv 2503.01773, section 4) takes the last row's attention on the image by layer, its
    overlap with the boxes of the objects asked about (found by a detector), and the AUROC of that
    overlap as a predictor of right answers, one curve over layers. Here boxes come from the
    composite's recipe: they are exact, and no item is skipped because nothing was detected.

    * `protocol=paper` asks the positive question alone, counts a token whose centre is in the box,
      and compares all composites with each other. That mixes two things: places where attention
      is high and answers are good, and pictures where they are.
    * `protocol=balanced` (ours) asks about a sibling in the key's place too, weighs a token by how
      much of its part lies in the box, and compares only composites with the key in one cell and
      of one kind of question. Overlap is divided by the box's share of the picture, so that 1 is
      attention that does not care.

    Parameters:
        items: how many items, each shown in every cell.
        protocol: `balanced` or `paper`.
    """

    name: ClassVar[str] = "alignment"
    title: ClassVar[str] = "Alignment"
    question: ClassVar[str] = (
        "Does the answer's row attend to the object it is asked about, and are answers right where "
        "it does?"
    )
    reading: ClassVar[str] = (
        "Left, how many times its even share the object's box is given, for each layer and head "
        "(1 is indifference). Right, by layer, the chance that overlap is greater where the answer "
        "is right than where it is wrong: 0.5 says that it tells nothing."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Of many layers and heads some stand out by chance; intervals are of each alone.",
        "Where nearly all answers are right, few pairs are compared and intervals are wide.",
        "A token of the box may be attended to for what it knows of the whole picture.",
    )
    paper: ClassVar[str] = "AdaptVis, arXiv 2503.01773, section 4"
    unit: ClassVar[str] = "questions"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question: positive or sibling."),
        "correct": Column("bool", "Whether the answer is right."),
        "margin": Column("float64", "log P(Yes) - log P(No) at the first answer token, nats."),
        "layers": Column("int32", "L."),
        "heads": Column("int32", "A."),
        "area": Column("float32", "Share of the image tokens that the box is."),
        "overlap": Column(
            "list<float32>", "Share of each head's image attention in the box, layer by layer."
        ),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.alignment:pictures"

    items: int = 16
    protocol: str = "balanced"

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)
        check_protocol(self.name, self.protocol)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which questions are asked."""
        return ("positive",) if self.protocol == "paper" else ("positive", "sibling")

    def steps(self, bench: Bench) -> int:
        """Questions of all composites."""
        return questions_of(bench, self.kinds)

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a question."""
        from wheresight.probes.token_grid import attention_map, inside

        found: dict[str, list[object]] = {name: [] for name in self.columns}
        paper = self.protocol == "paper"
        for one in asked(bench, "attention", self.kinds, advance, rows="last", each=True):
            maps = attention_map(one)
            within = inside(one, (maps.shape[2], maps.shape[3]), centres=paper)
            with np.errstate(all="ignore"):
                overlap = (maps * within).sum((-1, -2)) / maps.sum((-1, -2))
            record = {
                **one.place(),
                "correct": one.correct,
                "margin": one.answer.margin,
                "layers": maps.shape[0],
                "heads": maps.shape[1],
                "area": within.mean(),
                "overlap": overlap.ravel(),
            }
            for name, value in record.items():
                found[name].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Overlap and its AUROC, over all layers and by layer."""
        findings = Findings()
        paper = self.protocol == "paper"
        definition = "paper" if paper else "ours"
        options: Any = {
            "replicates": context.replicates, "level": context.level, "seed": context.seed,
        }  # fmt: skip
        for spec, table in tables.items():
            clusters = Clusters(table["key"], **options)
            heads = ratio(table)
            overlap = clusters.mean(heads.mean((1, 2)))
            findings.add(
                "overlap", "Attention in the object's box over its even share", overlap, spec,
                unit="", definition=definition,
            )  # fmt: skip
            findings.add(
                "correct", "Right answers", clusters.mean(table["correct"]), spec, unit="share",
                definition=definition, bounds=(0.0, 1.0),
            )  # fmt: skip
            layers = np.column_stack([heads.mean((1, 2)), heads.mean(2)])
            auroc = clustered_auroc(
                layers, table["correct"].astype(bool), table["key"],
                None if paper else strata(table), **options,
            )  # fmt: skip
            findings.add(
                "auroc", "AUROC of overlap for right answers", auroc.at(0), spec, unit="",
                definition=definition, bounds=(0.0, 1.0), note=_pairs(table, paper),
            )  # fmt: skip
            for layer in range(heads.shape[1]):
                findings.add(
                    "overlap", "Attention in the object's box over its even share, by layer",
                    clusters.mean(heads[:, layer].mean(1)), spec, unit="",
                    where={"layer": layer}, definition=definition, headline=False,
                )  # fmt: skip
                findings.add(
                    "auroc", "AUROC of overlap for right answers, by layer", auroc.at(1 + layer),
                    spec, unit="", where={"layer": layer}, definition=definition, headline=False,
                    bounds=(0.0, 1.0), note=_pairs(table, paper),
                )  # fmt: skip
        return findings.found


def ratio(table: Records) -> np.ndarray:
    """Overlap over the box's share of the picture, of each question, layer and head, (M, L, A)."""
    overlap = np.asarray(table["overlap"], dtype=np.float64)
    layers = int(table["layers"][0])
    return overlap.reshape(len(overlap), layers, -1) / table["area"][:, None, None]


def strata(table: Records) -> np.ndarray:
    """Which questions may be compared: those of one cell and kind, (M,)."""
    names = [f"{cell} {kind}" for cell, kind in zip(table["cell"], table["question"], strict=True)]
    return np.unique(names, return_inverse=True)[1]


def _pairs(table: Records, paper: bool) -> str:
    """How many pairs of a right and a wrong answer are compared."""
    right = table["correct"].astype(bool)
    groups = np.zeros(len(right)) if paper else strata(table)
    pairs = sum(
        int((right & (groups == g)).sum()) * int((~right & (groups == g)).sum())
        for g in np.unique(groups)
    )
    return f"{pairs:,} pairs of a right and a wrong answer"
