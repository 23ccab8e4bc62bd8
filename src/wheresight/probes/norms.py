"""Norms: how long are image tokens beside text tokens, when they enter and layer by layer?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
from wheresight.statistics.clustered import Clusters

if TYPE_CHECKING:
    from wheresight.probes.bench import Bench

GROUPS = ("system", "image", "text")
# Of the norms of a group's tokens in one prompt.
LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Norms(Diagnostic):
    """Norms of embeddings and of the residual stream by layer and token group.

    "Beyond Semantics" (arXiv 2503.17349) compares mean L2 norms per image and layer and takes the
    mean over images of the ratio image / text (`protocol=paper` of this number; its text group is
    the text behind the picture, the system prompt apart). It finds about 51 in LLaVA-1.5 at the
    decoder's input and 1 by layer 20. The mean misleads where a few tokens are far longer than all
    others, as attention sinks are: ours is the ratio of medians.

    Norms are taken where each layer takes its input, and before the last norm. What transformers
    calls the last hidden state is already normed. Beginning-of-text tokens, which often are sinks,
    are in the system group.

    A norm is not an influence. Layers norm their input, so the first layer's queries, keys and
    values do not depend on the scale of an embedding at all; scale acts only by how slowly a long
    residual turns when layers add to it.

    Parameters:
        items: how many items, each shown in every cell.
    """

    name: ClassVar[str] = "norms"
    title: ClassVar[str] = "Norms"
    question: ClassVar[str] = "How long are image tokens beside text tokens, layer by layer?"
    reading: ClassVar[str] = (
        "Left, how norms spread within each group where it enters the decoder; in the middle, the "
        "median by layer with the middle half of the tokens as a band (0 is what enters). Right, "
        "image over text: 1 is equal."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "The first layer norms its input: how long an embedding is does not change what it sees.",
        "Long tokens are not important tokens; sinks are long and carry little.",
    )
    paper: ClassVar[str] = "Beyond Semantics, arXiv 2503.17349, section 3 and appendix A"
    unit: ClassVar[str] = "questions"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question: positive."),
        "tokens": Column("list<int32>", "Tokens of each group: system, image, text."),
        **{
            f"{group}_{what}": Column(kind, f"{said} of the {group} tokens' norms.")
            for group in GROUPS
            for what, kind, said in (
                ("mean", "list<float32>", "For each layer's input and the end, the mean"),
                (
                    "quantiles",
                    "list<float32>",
                    "For each layer's input and the end, quantiles 0, 5, 25, 50, 75, 95, 100 %",
                ),
            )
        },
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.norms:pictures"

    items: int = 12

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)

    def steps(self, bench: Bench) -> int:
        """Questions of all composites."""
        return questions_of(bench, ("positive",))

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a composite."""
        found: dict[str, list[object]] = {name: [] for name in self.columns}
        for one in asked(bench, "norms", ("positive",), advance):
            record = {
                **one.place(),
                "tokens": [one.kept.of(group).shape[-1] for group in GROUPS],
            }
            for group in GROUPS:
                record[f"{group}_mean"] = one.kept.mean(group).numpy()
                quantiles = one.kept.quantiles(group, LEVELS).T.numpy()
                record[f"{group}_quantiles"] = quantiles.ravel()
            for name, value in record.items():
                found[name].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Ratios at the decoder's input and by layer, and how far image norms spread."""
        findings = Findings()
        for spec, table in tables.items():
            clusters = Clusters(
                table["key"], replicates=context.replicates, level=context.level, seed=context.seed
            )
            for definition, ratio in (("ours", medians(table)), ("paper", means(table))):
                drawn = clusters.mean(ratio)
                how = "medians" if definition == "ours" else "means"
                last = ratio.shape[1] - 1
                for layer, said in ((0, "at the input"), (last, "behind the last layer")):
                    findings.add(
                        f"ratio.{'input' if layer == 0 else 'end'}",
                        f"Image / text norm {said}, {how}", drawn.at(layer), spec, unit="",
                        definition=definition,
                    )  # fmt: skip
                for layer in range(last + 1):
                    findings.add(
                        "ratio", f"Image / text norm, {how}", drawn.at(layer), spec, unit="",
                        where={"layer": layer}, definition=definition, headline=False,
                    )  # fmt: skip
            spread = quantiles(table, "image")[:, 0]
            with np.errstate(all="ignore"):
                wide = spread[:, LEVELS.index(0.95)] / spread[:, LEVELS.index(0.05)]
            findings.add(
                "spread.input", "Image norms at the input, 95 % over 5 % quantile",
                clusters.mean(wide), spec, unit="",
            )  # fmt: skip
            for group in GROUPS:
                drawn = clusters.mean(quantiles(table, group)[:, :, LEVELS.index(0.5)])
                for layer in range(drawn.value.shape[0]):
                    findings.add(
                        f"median.{group}", f"Median norm, {group}", drawn.at(layer), spec, unit="",
                        where={"layer": layer}, headline=False,
                    )  # fmt: skip
        return findings.found


def quantiles(table: Records, group: str) -> np.ndarray:
    """LEVELS of a group's norms, (M, L + 1, 7)."""
    flat = np.asarray(table[f"{group}_quantiles"], dtype=np.float64)
    return flat.reshape(len(flat), -1, len(LEVELS))


def medians(table: Records) -> np.ndarray:
    """Median of image tokens over that of text tokens, (M, L + 1)."""
    at = LEVELS.index(0.5)
    with np.errstate(all="ignore"):
        return np.asarray(quantiles(table, "image")[..., at] / quantiles(table, "text")[..., at])


def means(table: Records) -> np.ndarray:
    """Mean of image tokens over that of text tokens, (M, L + 1), the paper's ratio."""
    with np.errstate(all="ignore"):
        return np.asarray(
            table["image_mean"].astype(np.float64) / table["text_mean"].astype(np.float64)
        )
