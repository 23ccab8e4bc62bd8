"""Alignment: is attention on the object asked about, and are answers right where it is?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wheresight.errors import StimulusError
from wheresight.interventions.ranges import whole_number
from wheresight.probes.asking import Asked, AskedOptions, asked, asked_options, questions_of
from wheresight.probes.diagnostic import (
    CELL,
    ITEM,
    KEY,
    PROBE,
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
    from wheresight.probes.benchmark import Posed
    from wheresight.stimuli.benchmarks.question import Benchmark


@dataclass(frozen=True)
class Alignment(Diagnostic):
    """Overlap of attention with the object's box, and whether it tells right answers from wrong.

    AdaptVis (arXiv 2503.01773, section 4) takes the last row's attention on the image by layer, its
    overlap with the boxes of the objects asked about (found by a detector), and the AUROC of that
    overlap as a predictor of right answers, one curve over layers. Here boxes come from the
    composite's recipe: they are exact, and no item is skipped because nothing was detected. With a
    labelled benchmark they come from its questions (the shapes of `2ds`; the column `boxes` of an
    own table, or COCO annotations given with it), all boxes of a question together. An answer is
    right if the right option is the likeliest; questions without a box are skipped and counted.

    * `protocol=paper` asks the positive question alone, counts a token whose centre is in the box,
      and compares all composites with each other. That mixes two things: places where attention
      is high and answers are good, and pictures where they are.
    * `protocol=balanced` (ours) asks about a sibling in the key's place too, weighs a token by how
      much of its part lies in the box, and compares only composites with the key in one cell and
      of one kind of question. Overlap is divided by the box's share of the picture, so that 1 is
      attention that does not care. Questions of a benchmark are compared within their category.

    Parameters:
        items: how many items, each shown in every cell.
        protocol: `balanced` or `paper`.
        benchmark: `probe` (the items) or a labelled benchmark's spec; one with commas is given with
            `--benchmark`.
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
        "question": Column("string", "Kind of question: positive, sibling, or a category."),
        "correct": Column("bool", "Whether the answer is right."),
        "margin": Column(
            "float64",
            "log P(Yes) - log P(No) at the first answer token, nats; of a benchmark, log P(right "
            "option) - log P(likeliest other).",
        ),
        "layers": Column("int32", "L."),
        "heads": Column("int32", "A."),
        "area": Column("float32", "Share of the image tokens that the box is."),
        "overlap": Column(
            "list<float32>", "Share of each head's image attention in the box, layer by layer."
        ),
        "skipped": Column("string", "How many of a benchmark's questions were skipped, and why."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.alignment:pictures"

    items: int = 16
    protocol: str = "balanced"
    benchmark: str = PROBE

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)
        check_protocol(self.name, self.protocol)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which questions are asked."""
        return ("positive",) if self.protocol == "paper" else ("positive", "sibling")

    def steps(self, bench: Bench) -> int:
        """Questions of all composites, or those of the benchmark that have a box."""
        if bench.benchmark is not None:
            return len(_boxed(bench.benchmark)[0])
        return questions_of(bench, self.kinds)

    def refuses_benchmark(self, benchmark: Benchmark) -> str | None:
        """Boxes are needed."""
        if any(question.boxes for question in benchmark.questions()):
            return None
        return (
            f"No question of {benchmark.name!r} has boxes of the things that it is about. Use 2ds, "
            "or a table of your own with a column boxes or COCO annotations (own:TABLE#coco=FILE)."
        )

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a question."""
        found: dict[str, list[object]] = {name: [] for name in self.columns}
        skipped: Counter[str] = Counter()
        for one, maps, within in self._seen(bench, advance, skipped):
            with np.errstate(all="ignore"):
                overlap = (maps * within).sum((-1, -2)) / maps.sum((-1, -2))
            record = {
                **one.place(),
                "correct": one.correct,
                "margin": one.answer.margin if isinstance(one, Asked) else one.margin,
                "layers": maps.shape[0],
                "heads": maps.shape[1],
                "area": within.mean(),
                "overlap": overlap.ravel(),
            }
            for name, value in record.items():
                found[name].append(value)
        rows = len(found["item"])
        if not rows:
            raise StimulusError(
                f"No box of the benchmark {self.benchmark!r} can be placed among the image tokens: "
                f"{_said(skipped, 0)} Use square pictures and larger boxes."
            )
        found["skipped"] = [_said(skipped, rows)] * rows
        return found

    def _seen(
        self, bench: Bench, advance: Callable[[int], None], skipped: Counter[str]
    ) -> Iterator[tuple[Asked | AskedOptions, np.ndarray, np.ndarray]]:
        """Each question with its attention (L, A, H, W) and the shares of tokens in its boxes.

        Args:
            bench: what to run on.
            advance: called with the number of questions just answered.
            skipped: counts by reason what is not yielded.
        """
        from wheresight.probes.token_grid import attention_map, covered, inside, kept_whole

        paper = self.protocol == "paper"
        options: Any = {"rows": "last", "each": True}
        if bench.benchmark is None:
            for composite in asked(bench, "attention", self.kinds, advance, **options):
                maps = attention_map(composite)
                grid = (maps.shape[2], maps.shape[3])
                yield composite, maps, inside(composite, grid, centres=paper)
            return
        posed, without = _boxed(bench.benchmark)
        skipped["without a box"] += without
        for one in asked_options(bench, "attention", posed, advance, **options):
            if not kept_whole(bench.lvlm, one.size):
                skipped["about a picture that the model crops or pads"] += 1
                continue
            maps = attention_map(one)
            grid = (maps.shape[2], maps.shape[3])
            if not covered(one.posed.boxes, one.size, grid).any():
                raise StimulusError(
                    f"The boxes of the question {one.posed.id!r} lie outside of its picture of "
                    f"{one.size[0]} x {one.size[1]} pixels: {list(one.posed.boxes)}. Expected "
                    "pixels of the picture as it is shown."
                )
            within = covered(one.posed.boxes, one.size, grid, centres=paper)
            if not within.any():
                skipped["with no token's centre in a box"] += 1
                continue
            yield one, maps, within

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
            skipped = str(table["skipped"][0])
            findings.add(
                "overlap", "Attention in the object's box over its even share", overlap, spec,
                unit="", definition=definition, note=skipped,
            )  # fmt: skip
            findings.add(
                "correct", "Right answers", clusters.mean(table["correct"]), spec, unit="share",
                definition=definition, bounds=(0.0, 1.0), note=skipped,
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


def _boxed(benchmark: Benchmark) -> tuple[list[Posed], int]:
    """The questions that have a box, and how many have none."""
    from wheresight.probes.benchmark import labelled_questions

    every = labelled_questions(benchmark)
    found = [posed for posed in every if posed.boxes]
    return found, len(every) - len(found)


def _said(skipped: Counter[str], rows: int) -> str:
    """How many questions were skipped for which reason; empty for none."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items() if count)
    count = skipped.total()
    return f"{count:,} of {rows + count:,} questions skipped: {reasons}." if count else ""


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
