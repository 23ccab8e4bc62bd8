"""Understanding: do image features mean the caption alike, wherever the picture stands?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from wheresight.interventions.ranges import whole_number
from wheresight.interventions.spec import parse
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
    import torch

    from wheresight.probes.bench import Bench
    from wheresight.probes.grid import Composite

POOLINGS = ("max", "mean")


@dataclass(frozen=True)
class Understanding(Diagnostic):
    """The cosine between projected image features and the caption's embeddings, cell by cell.

    The similarity test of BaPA (arXiv 2509.21984v1, equation 1): the key picture alone stands in
    each cell of a white canvas; the image tokens after the projector and the embeddings of the
    caption's tokens are each pooled over tokens, and the cosine of the two is averaged over
    captions. The paper finds it alike in all cells and concludes that the encoder is not to blame.

    As released, both sides are pooled by their largest value in each channel (`max`). That cannot
    depend on the order of tokens, nor much on where among them the picture is: near-equal cells
    follow by construction. So beside it stand the mean over tokens (`mean`), which does not depend
    on their order either, and what both lack: the same features with captions of other items. What
    says that a feature means its caption is the difference between matched and mismatched
    captions, and the share of other captions that are less like it (0.5 is chance).

    It looks at the vision tower and the projector alone: methods that act behind them change
    nothing here.

    Parameters:
        items: how many key pictures; each is compared with the captions of all others.
    """

    name: ClassVar[str] = "understanding"
    title: ClassVar[str] = "Understanding"
    question: ClassVar[str] = (
        "Do the image features that enter the language model resemble the caption's words, and "
        "equally so wherever the picture stands?"
    )
    reading: ClassVar[str] = (
        "Left: the mean cosine with the picture's own caption and with captions of other pictures, "
        "place by place. Right: the share of other captions that are less alike than its own. If "
        "the two kinds of dots on the left lie together, or the dots on the right at 50%, the "
        "cosine does not say that the features mean the caption, and equal cosines at all places "
        "say nothing about understanding."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Nothing trains a model so that the cosine of features and word embeddings is large: a "
        "small difference between matched and mismatched captions does not say that the model "
        "does not understand the picture.",
        "Max pooling makes places alike by construction; that is a property of the measure.",
    )
    paper: ClassVar[str] = "BaPA, arXiv 2509.21984v1, equation 1 (similarity test)"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "max_matched": Column("float64", "Cosine with the own caption, both sides max-pooled."),
        "max_mismatched": Column("float64", "Mean cosine with captions of other items."),
        "max_rank": Column("float64", "Share of those captions that are less alike; ties half."),
        "mean_matched": Column("float64", "Cosine with the own caption, both sides averaged."),
        "mean_mismatched": Column("float64", "Mean cosine with captions of other items."),
        "mean_rank": Column("float64", "Share of those captions that are less alike; ties half."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.understanding:pictures"

    items: int = 100

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 2, 1_000_000)

    def steps(self, bench: Bench) -> int:
        """Pictures of all items in all cells."""
        return len(bench.items) * bench.cells

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row an item and cell."""
        import torch

        from wheresight.lvlm.encoding import Query
        from wheresight.lvlm.intervene import intervene
        from wheresight.lvlm.prompt_running import on_vision
        from wheresight.lvlm.variants import image_tokens

        composites = bench.composites(bench.items)
        captions = [item.caption for item in bench.items]
        owner = {item.id: n for n, item in enumerate(bench.items)}
        found: dict[str, list[Any]] = {name: [] for name in self.columns}
        with torch.inference_mode(), intervene(bench.lvlm, on_vision(parse(bench.spec))):
            words = pooled([caption_embeddings(bench, caption) for caption in captions])
            size = bench.score.batch_size
            for start in range(0, len(composites), size):
                batch = composites[start : start + size]
                queries = [Query(alone(bench, c), (bench.question(""),)) for c in batch]
                encoded = bench.score.encode(queries, keep_pixels=False)
                shown = pooled(image_tokens(encoded))
                own = np.array([owner[c.item] for c in batch])
                for composite in batch:
                    found["item"].append(composite.item)
                    found["key"].append(composite.key)
                    found["cell"].append(composite.cell)
                for how in POOLINGS:
                    numbers = compare(cosines(shown[how], words[how]), own, captions)
                    for name, values in numbers.items():
                        found[f"{how}_{name}"].extend(values.tolist())
                advance(len(batch))
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Matched and mismatched cosines, how far they are apart, and how much cells differ."""
        findings = Findings()
        for spec, table in tables.items():
            clusters = Clusters(
                table["key"], replicates=context.replicates, level=context.level, seed=context.seed
            )
            for how in POOLINGS:
                by_cell = {
                    name: clusters.mean(spread_out(table[f"{how}_{name}"], table["cell"]))
                    for name in ("matched", "mismatched", "rank")
                }
                matched, other, rank = (by_cell[n] for n in ("matched", "mismatched", "rank"))
                words = f"Cosine with {{}}, {how}-pooled"
                whose = "paper" if how == "max" else "ours"
                findings.add(
                    f"{how}.matched", words.format("the caption"), matched.map(_mean), spec,
                    definition=whose,
                )  # fmt: skip
                findings.add(
                    f"{how}.spread", words.format("the caption") + ": SD over places",
                    matched.map(_sd), spec, unit="", definition=whose,
                )  # fmt: skip
                findings.add(
                    f"{how}.mismatched", words.format("other captions"), other.map(_mean), spec
                )
                findings.add(
                    f"{how}.excess", f"Matched minus mismatched cosine, {how}-pooled",
                    (matched - other).map(_mean), spec,
                )  # fmt: skip
                findings.add(
                    f"{how}.excess_spread",
                    f"Matched minus mismatched cosine, {how}-pooled: SD over places",
                    (matched - other).map(_sd), spec, unit="",
                )  # fmt: skip
                findings.add(
                    f"{how}.rank", f"Other captions less alike than the own, {how}-pooled",
                    rank.map(_mean), spec, unit="share",
                )  # fmt: skip
                for cell in range(len(matched.value)):
                    for name, drawn in by_cell.items():
                        findings.add(
                            f"{how}.{name}", f"{name.capitalize()}, {how}-pooled", drawn.at(cell),
                            spec, where={"cell": cell}, headline=False,
                            unit="share" if name == "rank" else "index",
                        )  # fmt: skip
        return findings.found


def _mean(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean(axis=-1))


def _sd(values: np.ndarray) -> np.ndarray:
    """Standard deviation (ddof 1) over cells; it is above 0 by noise alone."""
    return np.asarray(values.std(axis=-1, ddof=1))


def spread_out(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Each row's value in the column of its cell, NaN in all others, (M, C)."""
    out = np.full((len(values), int(cells.max()) + 1), np.nan)
    out[np.arange(len(values)), cells] = values
    return out


def alone(bench: Bench, composite: Composite) -> Image.Image:
    """The key where it stands in the composite, on a white canvas without the others."""
    from wheresight.stimuli.composites import boxes

    box = boxes(composite.recipe)[composite.cell]
    canvas = Image.new("RGB", composite.recipe.canvas, "white")
    canvas.paste(bench.picture(composite).crop(box), (box[0], box[1]))
    return canvas


def caption_embeddings(bench: Bench, caption: str) -> torch.Tensor:
    """Embeddings of a caption's tokens as the language model is given them, (T, D)."""
    import torch

    ids = bench.score.tokenizer(caption, add_special_tokens=False)["input_ids"]
    table = bench.lvlm.core.get_input_embeddings()
    found: torch.Tensor = table(torch.tensor([ids], device=bench.lvlm.device))[0]
    return found


def pooled(rows: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    """Each of POOLINGS over the tokens of (T, D) each: (M, D) float64."""
    import torch

    by = {
        "max": torch.stack([row.double().max(dim=0).values for row in rows]),
        "mean": torch.stack([row.double().mean(dim=0) for row in rows]),
    }
    return {name: value.cpu().numpy() for name, value in by.items()}


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of all rows of a (M, D) with all of b (K, D), (M, K)."""
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    return np.asarray(a @ b.T)


def compare(found: np.ndarray, own: np.ndarray, captions: Sequence[str]) -> dict[str, np.ndarray]:
    """Matched and mismatched cosines and ranks, (M,) each.

    Args:
        found: cosines of M pictures with K captions, (M, K).
        own: the number of each picture's caption, (M,).
        captions: K texts; one that reads like the own is no mismatch.
    """
    texts = np.array([caption.casefold() for caption in captions])
    other = texts[None, :] != texts[own][:, None]
    matched = found[np.arange(len(found)), own]
    below = (found < matched[:, None]) + 0.5 * (found == matched[:, None])
    count = other.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return {
            "matched": matched,
            "mismatched": (found * other).sum(axis=1) / count,
            "rank": (below * other).sum(axis=1) / count,
        }
