"""Position sensitivity: how much do answers hang on where image tokens stand?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

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
from wheresight.statistics.clustered import Clusters, Drawn

if TYPE_CHECKING:
    from wheresight.probes.bench import Bench
    from wheresight.probes.benchmark import Posed

REFERENCE, BLIND = "as it is", "blind"
# What is done to the image tokens: name, what is added to the intervention, and whether it draws.
CONTENT = {
    "all tokens": ("permute:seed={seed}", True),
    "within rows": ("rearrange:rows,seed={seed}", True),
    "within columns": ("rearrange:columns,seed={seed}", True),
    "blocks": ("rearrange:blocks,seed={seed},side={side}", True),
    "inside blocks": ("rearrange:inside,seed={seed},side={side}", True),
    "reverse": ("rearrange:reverse", False),
    "transpose": ("rearrange:transpose", False),
}
IDS = {
    "ids of all tokens": ("shuffle:seed={seed}", True),
    "ids reversed": ("reverse", False),
}
CONDITIONS = {**CONTENT, **IDS}


@dataclass(frozen=True)
class Psi(Diagnostic):
    """Position Sensitivity Index: the loss of accuracy when image tokens trade places.

    "Beyond Semantics" (arXiv 2503.17349, section on the permutation test) permutes all image tokens
    after the projector, which gives each content another rotary id and another causal rank, and
    reports PSI = (A_0 - A_p) / A_0 from one unseeded draw a sample, without intervals.

    That form has two flaws, which other forms beside it have not. A model that guesses keeps half
    of its accuracy on a yes-or-no task, so PSI cannot exceed 50 % there:
    `psi_chance` = (A_0 - A_p) / (A_0 - A_chance), A_chance the accuracy of guessing among the
    choices and A the mean of the accuracies for each right answer, so that no constant answer beats
    guessing. And a low PSI says as much of the benchmark as of the model, which only a continuous
    form can tell on few examples: `psi_logp`, the mean of log p(right | x) - log p(right | x
    permuted), and `kl`, the mean KL(x || x permuted) of the next-token distributions, which needs
    no labels.

    Content permutations of several strengths tell what part of the arrangement matters (`all
    tokens`, `within rows`, `within columns`, whole `blocks` and `inside blocks` of side x side
    tokens, `reverse`, `transpose`). Permuting the rotary ids alone (`ids of all tokens`, `ids
    reversed`), with content and causal order in place, separates the ids from the causal rank.
    `blind` shows an empty canvas: what is right without any picture cannot hang on places.

    Drawn permutations are averaged over `draws` seeds. The benchmark is the grid probe's own
    questions or any labelled one. Of such a one whole options are compared with each other, and
    accuracies of right answers are averaged only if all questions have the same options; else A is
    the plain accuracy, since no constant answer is possible.

    Parameters:
        draws: K, seeded permutations for each question.
        side: of a block, in tokens.
        items: how many items, each asked about in every cell.
        protocol: `balanced` asks matched negatives too, `paper` positives alone (BaPA's).
        benchmark: `probe` (the items, under a protocol) or a labelled benchmark's spec; one with
            commas is given with `--benchmark`.
    """

    name: ClassVar[str] = "psi"
    title: ClassVar[str] = "Position sensitivity"
    question: ClassVar[str] = (
        "How much do the answers hang on where image tokens stand, and is that because of their "
        "rotary ids or because of their order?"
    )
    reading: ClassVar[str] = (
        "One line for each rearrangement: on top those of content, below them those of rotary ids "
        "alone, at the end the picture left out. 0 means that answers do not care. If moving the "
        "content costs much and moving the ids costs nothing, places are known by causal order or "
        "from the tower, not by rotary ids."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Permuted tokens are out of distribution: a loss says that places matter to the "
        "computation, not that they are used as a person would.",
        "A low index on a task that needs no places says nothing about the model.",
        "Under a family with bidirectional image attention order has no rank, and content and ids "
        "are two names of one thing.",
    )
    paper: ClassVar[str] = "Beyond Semantics, arXiv 2503.17349, PSI (Table 2)"
    unit: ClassVar[str] = "answers"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question."),
        "expected": Column("string", "The right answer."),
        "chance": Column("float64", "Chance of guessing it among the choices."),
        "condition": Column("string", "What was done to the image tokens."),
        "draw": Column("int32", "Seed of the draw; -1 where nothing is drawn."),
        "right": Column(
            "bool",
            "Whether the likeliest first token spells the right answer; of a benchmark, whether "
            "the right option is the likeliest.",
        ),
        "logp": Column("float64", "Log-probability of the right answer, nats."),
        "kl": Column("float64", "KL from the undisturbed next-token distribution, nats."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.psi:pictures"

    draws: int = 3
    side: int = 2
    items: int = 16
    protocol: str = "balanced"
    benchmark: str = PROBE

    def __post_init__(self) -> None:
        whole_number(self.name, "draws", self.draws, 1, 1000)
        whole_number(self.name, "side", self.side, 1, 1 << 20)
        whole_number(self.name, "items", self.items, 1, 1_000_000)
        check_protocol(self.name, self.protocol)

    def conditions(self, intervention: str, seed: int) -> dict[tuple[str, int], str]:
        """Every spec by condition and draw, the reference first; without `blind`."""
        found = {(REFERENCE, -1): canonical(intervention)}
        for name, (more, draws) in CONDITIONS.items():
            for number in range(self.draws) if draws else (-1,):
                added = more.format(seed=seed + max(number, 0), side=self.side)
                found[name, number] = canonical([intervention, added])
        return found

    def specs(self, intervention: str) -> tuple[str, ...]:
        """The intervention alone, and with each rearrangement."""
        return tuple(self.conditions(intervention, 0).values())

    def steps(self, bench: Bench) -> int:
        """Answers under all conditions, blind ones too."""
        conditions = len(self.conditions(bench.spec, bench.seed)) + 1
        return conditions * len(questions(bench, self.protocol))

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a question, condition and draw."""
        from wheresight.probes.benchmark import ask

        conditions = self.conditions(bench.spec, bench.seed)
        posed = questions(bench, self.protocol)
        options = bench.benchmark is not None
        names = {"/".join(map(str, key)): spec for key, spec in conditions.items()}
        answers = list(ask(bench.score, posed, names, options=options, advance=advance).values())
        without = ask(
            bench.score,
            posed,
            {BLIND: bench.spec},
            options=options,
            blank=True,
            background=bench.probe.settings.background,
            advance=advance,
        )[BLIND]
        found: dict[str, list[Any]] = {name: [] for name in self.columns}
        for (name, draw), answered in [
            *zip(conditions, answers, strict=True),
            ((BLIND, -1), without),
        ]:
            for n, p in enumerate(posed):
                row = {
                    "item": p.id, "key": p.cluster, "cell": p.cell, "question": p.kind,
                    "expected": p.right, "chance": 1 / len(p.choices),
                    "condition": name, "draw": draw,
                    "right": bool(answered.right[n]), "logp": float(answered.logp[n]),
                    # The blind answers are of another picture: there is no reference for them.
                    "kl": float("nan") if name == BLIND else float(answered.kl[n]),
                }  # fmt: skip
                for column, value in row.items():
                    found[column].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Every form of the index for every condition."""
        findings = Findings()
        for spec, table in tables.items():
            whole = table["condition"] == REFERENCE
            clusters = Clusters(
                table["key"][whole],
                replicates=context.replicates, level=context.level, seed=context.seed,
            )  # fmt: skip
            one_hot = by_answer(table["expected"][whole], table["chance"][whole])
            base = disturbed(table, REFERENCE)
            accuracy = clusters.mean(base["right"])
            findings.add("accuracy", "Accuracy, tokens as they are", accuracy, spec, unit="share")
            for name in (*CONDITIONS, BLIND):
                other = disturbed(table, name)
                forms: dict[str, tuple[Drawn, str, str, str, bool]] = {
                    "psi": (
                        clusters.of_sums(np.stack([base["right"], other["right"]], 1), relative),
                        "PSI", "share", "paper", name == "all tokens",
                    ),
                    "psi_chance": (
                        chance_corrected(clusters, base, other, one_hot),
                        "PSI corrected for chance", "share", "ours", True,
                    ),
                    "psi_logp": (
                        clusters.mean(base["logp"] - other["logp"]),
                        "Loss of log p(right)", "nats", "ours", name in _MAIN,
                    ),
                    "kl": (
                        clusters.mean(other["kl"]),
                        "KL from undisturbed", "nats", "ours", name in _MAIN,
                    ),
                }  # fmt: skip
                for form, (drawn, label, unit, whose, headline) in forms.items():
                    if form == "kl" and name == BLIND:
                        continue
                    findings.add(
                        form, label, drawn, spec, unit=unit, definition=whose,
                        where={"condition": moved(name)}, headline=headline,
                    )  # fmt: skip
        return findings.found


_MAIN = ("all tokens", "ids of all tokens")


def moved(condition: str) -> str:
    """A condition as findings and pictures call it."""
    if condition == BLIND:
        return "no picture"
    return condition if condition in IDS else f"content: {condition}"


def questions(bench: Bench, protocol: str) -> list[Posed]:
    """What to ask: the benchmark's questions, or those about the items under a protocol."""
    from wheresight.probes.benchmark import labelled_questions, probe_questions

    if bench.benchmark is not None:
        return labelled_questions(bench.benchmark)
    return probe_questions(bench, bench.items, question_kinds(protocol))


def by_answer(expected: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Which of A right answers each question has, (Q, A); one column where options differ.

    Where there are more right answers than a question has options, not all have the same ones.

    >>> by_answer(np.array(["left", "right"]), np.full(2, 1 / 2)).shape
    (2, 2)
    >>> by_answer(np.array(["red", "blue", "left"]), np.full(3, 1 / 2)).shape
    (3, 1)
    """
    answers = sorted(set(expected))
    if len(answers) > round(1 / float(np.max(chance))):
        return np.ones((len(expected), 1), dtype=bool)
    return np.stack([expected == answer for answer in answers], axis=1)


def question_kinds(protocol: str) -> tuple[str, ...]:
    """Kinds of the grid probe's questions under a protocol."""
    return ("positive",) if protocol == "paper" else ("positive", "absent", "sibling")


def disturbed(table: Records, condition: str) -> dict[str, np.ndarray]:
    """`right`, `logp`, `kl`, `chance` of every question under a condition, averaged over draws.

    Rows are in the order in which the questions were asked, the same for every condition.
    """
    own = table["condition"] == condition
    draws = len(set(table["draw"][own]))
    return {
        name: table[name][own].astype(np.float64).reshape(draws, -1).mean(axis=0)
        for name in ("right", "logp", "kl", "chance")
    }


def relative(sums: np.ndarray) -> np.ndarray:
    """(A_0 - A_p) / A_0 from sums of right answers (R, 2)."""
    return np.asarray((sums[..., 0] - sums[..., 1]) / sums[..., 0])


def chance_corrected(
    clusters: Clusters,
    base: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    one_hot: np.ndarray,
) -> Drawn:
    """(A_0 - A_p) / (A_0 - A_chance), A the mean of the accuracies for each right answer.

    Args:
        clusters: of the Q questions.
        base, other: `right` and `chance` (Q,) as they are, and disturbed.
        one_hot: (Q, A), which of A right answers each question has.
    """
    columns = np.stack([base["right"], other["right"], base["chance"], np.ones(len(one_hot))], 1)

    def index(sums: np.ndarray) -> np.ndarray:
        rates = sums[..., :3, :] / sums[..., 3:, :]
        undisturbed, moved, chance = np.moveaxis(np.nanmean(rates, axis=-1), -1, 0)
        return np.asarray((undisturbed - moved) / (undisturbed - chance))

    return clusters.of_sums(columns[:, :, None] * one_hot[:, None, :], index)
