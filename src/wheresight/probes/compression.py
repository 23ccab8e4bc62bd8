"""Compression: how many image tokens do the answers need?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wheresight.errors import SpecError
from wheresight.interventions.ranges import whole_number
from wheresight.interventions.spec import canonical
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
from wheresight.probes.psi import by_answer, questions, relative
from wheresight.statistics.clustered import Clusters

if TYPE_CHECKING:
    from wheresight.lvlm.layout import ImageTokens
    from wheresight.probes.bench import Bench
    from wheresight.probes.benchmark import Posed

FULL = "full"
# What is done at each side, and what it is added to the intervention.
WAYS = {"pool": "pool:side={side}", "broadcast": "pool_broadcast:side={side}"}
_PAPER_SIDES = (16, 8, 4, 1)


@dataclass(frozen=True)
class Compression(Diagnostic):
    """Accuracy against the number of image tokens, by average pooling after the projector.

    The compression test of "Beyond Semantics" (arXiv 2503.17349): adaptive average pooling of the
    24 x 24 grid to 16 x 16, 8 x 8, 4 x 4 and 1 token, accuracy on benchmarks. A small loss is read
    as a sign that places are hardly used. The released code may have trained a model for each
    size; here one model is used as it is, which is a harder test.

    Pooling changes three things together: how many tokens there are, how much detail is left, and
    where the text stands. `broadcast` gives every token the value of the pooled cell that it lies
    in, so that count and positions stay and only the detail goes. What `pool` loses beyond
    `broadcast` is due to count and positions.

    Parameters:
        sides: joined by `/`; `auto` is the paper's 16/8/4/1 as far as they are smaller than the
            model's grid, or, where fewer than three are, all divisors of its shorter side.
        items: how many items, each asked about in every cell.
        protocol: `balanced` asks matched negatives too, `paper` positives alone (BaPA's).
        benchmark: `probe` (the items, under a protocol) or a labelled benchmark's spec; one with
            commas is given with `--benchmark`. Whole options are compared with each other.
    """

    name: ClassVar[str] = "compression"
    title: ClassVar[str] = "Compression"
    question: ClassVar[str] = (
        "How does accuracy fall as image tokens are averaged into fewer, and is it the detail or "
        "the count that is missed?"
    )
    reading: ClassVar[str] = (
        "Accuracy, the mean over right answers of Yes and of No (of a benchmark whose questions "
        "have different options, plain accuracy), against the number of distinct image tokens. One "
        "line is for fewer tokens, the other for as many as before with the same detail; where "
        "they differ, count and positions matter beyond the detail. The dashed line is guessing."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Averaged tokens are out of distribution: a model trained with them may do far better.",
        "With several pictures in one grid, coarse pooling mixes the key with its neighbours, so "
        "a loss is one of resolution before it is one of position.",
    )
    paper: ClassVar[str] = "Beyond Semantics, arXiv 2503.17349, compression test"
    unit: ClassVar[str] = "answers"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question."),
        "expected": Column("string", "The right answer."),
        "chance": Column("float64", "Chance of guessing it among the choices."),
        "way": Column("string", "full, pool or broadcast."),
        "side": Column("int32", "Cells along each side after pooling; 0 for full."),
        "tokens": Column("int32", "Distinct image tokens of the first picture."),
        "right": Column(
            "bool",
            "Whether the likeliest first token spells the right answer; of a benchmark, whether "
            "the right option is the likeliest.",
        ),
        "logp": Column("float64", "Log-probability of the right answer, nats."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.compression:pictures"

    sides: str = "auto"
    items: int = 24
    protocol: str = "balanced"
    benchmark: str = PROBE

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)
        check_protocol(self.name, self.protocol)
        if self.sides != "auto":
            self._written()

    def _written(self) -> list[int]:
        parts = self.sides.split("/")
        if not all(p.isdecimal() and int(p) >= 1 for p in parts) or len(set(parts)) < len(parts):
            raise SpecError(
                f"The parameter sides of 'compression' cannot be {self.sides!r}: expected auto, or "
                "different whole numbers from 1, joined by /, such as 16/8/4/1."
            )
        return sorted(map(int, parts), reverse=True)

    def chosen(self, height: int, width: int) -> list[int]:
        """The sides to pool to, largest first, for a grid of H x W tokens.

        >>> Compression().chosen(24, 24), Compression().chosen(6, 6)
        ([16, 8, 4, 1], [3, 2, 1])
        """
        if self.sides != "auto":
            return self._written()
        short = min(height, width)
        found = [side for side in _PAPER_SIDES if side < short]
        if len(found) < 3:
            found = [side for side in range(short - 1, 0, -1) if short % side == 0]
        return found

    def specs(self, intervention: str) -> tuple[str, ...]:
        """The intervention alone, and with pooling of both ways."""
        sides = [1] if self.sides == "auto" else self._written()
        more = [
            canonical([intervention, way.format(side=s)]) for s in sides for way in WAYS.values()
        ]
        return (canonical(intervention), *more)

    def steps(self, bench: Bench) -> int:
        """Answers under all conditions."""
        posed = questions(bench, self.protocol)
        tokens = image_of(bench, posed[0])
        return len(posed) * (1 + len(WAYS) * len(self.chosen(tokens.height, tokens.width)))

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a question, way and side."""
        from wheresight.interventions.features.pooling import pooled
        from wheresight.probes.benchmark import ask

        posed = questions(bench, self.protocol)
        tokens = image_of(bench, posed[0])
        conditions = {(FULL, 0): canonical(bench.spec)} | {
            (way, side): canonical([bench.spec, more.format(side=side)])
            for side in self.chosen(tokens.height, tokens.width)
            for way, more in WAYS.items()
        }
        names = {f"{way}/{side}": spec for (way, side), spec in conditions.items()}
        options = bench.benchmark is not None
        answers = ask(bench.score, posed, names, options=options, advance=advance)
        found: dict[str, list[Any]] = {name: [] for name in self.columns}
        for (way, side), answered in zip(conditions, answers.values(), strict=True):
            left = tokens if side == 0 else pooled(tokens, side)
            for n, p in enumerate(posed):
                row = {
                    "item": p.id, "key": p.cluster, "cell": p.cell, "question": p.kind,
                    "expected": p.right, "chance": 1 / len(p.choices), "way": way, "side": side,
                    "tokens": left.count - left.hidden,
                    "right": bool(answered.right[n]), "logp": float(answered.logp[n]),
                }  # fmt: skip
                for column, value in row.items():
                    found[column].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Accuracy at each count, the paper's relative loss, and pool against broadcast."""
        findings = Findings()
        for spec, table in tables.items():
            full = table["way"] == FULL
            clusters = Clusters(
                table["key"][full],
                replicates=context.replicates, level=context.level, seed=context.seed,
            )  # fmt: skip
            one_hot = by_answer(table["expected"][full], table["chance"][full])

            def accuracy(right: np.ndarray, one_hot: np.ndarray = one_hot) -> np.ndarray:
                """What the mean accuracy over right answers is made of, (Q, A, 2)."""
                return np.stack([right[:, None] * one_hot, one_hot], axis=-1)

            def read(way: str, side: int, table: Records = table) -> np.ndarray:
                own = (table["way"] == way) & (table["side"] == side)
                return table["right"][own].astype(np.float64)

            base = read(FULL, 0)
            whole = clusters.of_sums(accuracy(base), _by_answer)
            tokens = int(table["tokens"][full][0])
            findings.add(
                "accuracy.full", "Accuracy, all tokens", whole, spec, unit="share",
                where={"tokens": tokens}, bounds=(0, 1),
            )  # fmt: skip
            for side in sorted({int(s) for s in table["side"]} - {0}, reverse=True):
                left = int(table["tokens"][table["side"] == side][0])
                where = {"tokens": left, "side": side}
                both = {
                    way: clusters.of_sums(accuracy(read(way, side)), _by_answer) for way in WAYS
                }
                for way, drawn in both.items():
                    findings.add(
                        f"accuracy.{way}", f"Accuracy, {_WORDS[way]}", drawn, spec, unit="share",
                        where=where, bounds=(0, 1),
                    )  # fmt: skip
                findings.add(
                    "pool_minus_broadcast", "Pooled minus broadcast: count and positions",
                    both["pool"] - both["broadcast"], spec, unit="share", where=where,
                )  # fmt: skip
                findings.add(
                    "loss", "(A_0 - A) / A_0, pooled",
                    clusters.of_sums(np.stack([base, read("pool", side)], 1), relative), spec,
                    unit="share", where=where, definition="paper",
                )  # fmt: skip
        return findings.found


_WORDS = {"pool": "fewer tokens", "broadcast": "same count, same detail"}


def _by_answer(sums: np.ndarray) -> np.ndarray:
    """Mean over right answers of the share that is right, from sums (R, A, 2)."""
    return np.asarray(np.nanmean(sums[..., 0] / sums[..., 1], axis=-1))


def image_of(bench: Bench, posed: Posed) -> ImageTokens:
    """What the image tokens of a question's picture are.

    Raises:
        ModelError: if the grid of the model's images is not known.
    """
    from wheresight.errors import ModelError
    from wheresight.lvlm.encoding import Query

    encoded = bench.score.encode([Query(posed.picture(), (posed.text,))], keep_pixels=False)
    inputs = bench.score.encoder.inputs(encoded, encoded.rows)
    tokens = bench.lvlm.layout(inputs).images[0][0].tokens
    if tokens.height * tokens.width == 0:
        raise ModelError(
            "The grid of this model's image tokens is not known, so they cannot be pooled. Leave "
            "compression out."
        )
    return tokens
