"""Erasure: which parts of the picture does the answer hang on, and does that move with the key?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from wheresight.interventions.ranges import whole_number
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

    from wheresight.lvlm.intervene import Active
    from wheresight.lvlm.preprocessing import Preprocessed
    from wheresight.lvlm.variants import Variants
    from wheresight.probes.bench import Bench
    from wheresight.probes.grid import Composite


@dataclass(frozen=True)
class Erasure(Diagnostic):
    """Cover a composite with R x R white masks, one at a time, and see how the answer changes.

    The eraser test of BaPA (arXiv 2509.21984v1, section 4.1) asks the positive question of each
    composite, erases one square after the other, and takes |change| of the answer token's logit,
    divided by its largest value in the picture, averaged over pictures that share a key position.
    There R is 20 and 20 items are shown in 9 cells; it is read as a test of the vision encoder.

    Three things are kept here for each mask, none of them divided by anything:

    * `logit`, the change of the answer token's logit (the paper's; the answer is the first token,
      where the paper averages over all generated tokens, which are `Yes` and the end of the text).
      It misleads in two ways: a constant added to all logits, which changes no probability, counts
      in full; and dividing by the largest value hides how strong the effect is, which is the very
      thing that may differ between positions. And it measures the whole model, not the encoder.
    * `log_odds`, the change of log p - log(1 - p) of the answer, nats: no such constant touches it,
      and unlike log p it does not stand still where the model is nearly sure.
    * `features`, ||F' - F|| / ||F|| (Frobenius) over the image tokens after the projector: the
      vision tower alone. Only this can say that the encoder sees all positions alike.

    Masks lie on round(k * side / R), so that they cover the picture once without overlap. Masks
    that change no pixel are 0 and are not run. Where processing leaves the size of pictures alone,
    masks are painted into the processed pixels, which is checked to be the same to the last bit on
    two checkerboards that touch every edge; else every masked picture is drawn and processed.

    Parameters:
        masks: R, masks along each side.
        items: how many items, each shown in every cell.
    """

    name: ClassVar[str] = "erasure"
    title: ClassVar[str] = "Erasure"
    question: ClassVar[str] = (
        "Which parts of the picture does the answer hang on, and is the key as important wherever "
        "it stands, to the vision tower and to the whole model?"
    )
    reading: ClassVar[str] = (
        "One map for each place of the key (outlined): how much the answer's log-odds (above"
        ") and the image features (below) change when a small square is painted white, averaged "
        "over items; all maps of a kind share one scale. Bright in the outline and dark elsewhere "
        "is what should be. The dots below say how much a square inside the key changes at each "
        "place: if they differ for the answer but not for the features, the difference arises "
        "behind the vision tower."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "A white square is itself something to see, and on a white ground it removes nothing.",
        "The features' change has no threshold: a small change in the right direction may matter "
        "more than a large one in another.",
        "With few items the intervals are wide; the paper's size is erasure:items=20.",
    )
    paper: ClassVar[str] = "BaPA, arXiv 2509.21984v1, section 4.1 (eraser test)"
    unit: ClassVar[str] = "masks"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "row": Column("int32", "Row of that cell."),
        "column": Column("int32", "Column of that cell."),
        "answer": Column("string", "First answer token without a mask."),
        "logit": Column("list<float32>", "Change of the answer's logit, R * R masks row-major."),
        "log_odds": Column("list<float32>", "Change of its log-odds log p - log(1 - p), nats."),
        "features": Column("list<float32>", "||F' - F|| / ||F|| of the image features."),
        "inside": Column("list<float32>", "Share of each mask that lies in the key's box."),
        "unchanged": Column("int32", "Masks that change no pixel."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.erasure:pictures"

    masks: int = 20
    items: int = 5

    def __post_init__(self) -> None:
        whole_number(self.name, "masks", self.masks, 2, 128)
        whole_number(self.name, "items", self.items, 1, 1_000_000)

    def steps(self, bench: Bench) -> int:
        """Masks of all composites."""
        return len(bench.items) * bench.cells * self.masks**2

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a composite."""
        import torch

        from wheresight.lvlm.intervene import intervene

        found: dict[str, list[object]] = {name: [] for name in self.columns}
        columns = bench.probe.settings.columns
        with torch.inference_mode(), intervene(bench.lvlm, bench.spec) as active:
            for composite in bench.composites(bench.items):
                erased = erase(bench, active, composite, self.masks, advance)
                row, column = divmod(composite.cell, columns)
                place = {"item": composite.item, "key": composite.key, "cell": composite.cell}
                for name, value in {**place, "row": row, "column": column, **erased}.items():
                    found[name].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """How strong masks inside the key are at each cell, and how much cells differ."""
        findings = Findings()
        for spec, table in tables.items():
            clusters = Clusters(
                table["key"], replicates=context.replicates, level=context.level, seed=context.seed
            )
            for name, (label, unit, definition, headline) in QUANTITIES.items():
                values = quantity(table, name)
                sums = inside_sums(values, table["inside"], table["cell"])
                inside = clusters.of_sums(sums, lambda s: s[..., 0] / s[..., 1])
                share = clusters.of_sums(sums, lambda s: s[..., 0].sum(-1) / s[..., 2].sum(-1))
                findings.add(
                    f"{name}.inside", f"{label}, mask in the key", inside.map(_mean), spec,
                    unit=unit, definition=definition, headline=headline,
                )  # fmt: skip
                findings.add(
                    f"{name}.key_share", f"{label}: share of it in the key's box", share, spec,
                    unit="share", definition=definition, headline=headline,
                )  # fmt: skip
                findings.add(
                    f"{name}.spread", f"{label}, mask in the key: spread over places, SD / mean",
                    inside.map(_spread), spec, unit="share", definition=definition,
                    headline=headline,
                )  # fmt: skip
                for cell in range(len(inside.value)):
                    findings.add(
                        f"{name}.inside", f"{label}, mask in the key", inside.at(cell), spec,
                        unit=unit, where={"cell": cell}, definition=definition, headline=False,
                    )  # fmt: skip
        return findings.found


# What is read from the records: label, unit, whose definition, whether the page shows it.
QUANTITIES = {
    "log_odds": ("|change of the answer's log-odds|", "nats", "ours", True),
    "features": ("Relative change of image features", "share", "ours", True),
    "normalised_logit": ("|change of logit| / largest in picture", "share", "paper", True),
    "logit": ("|change of logit|", "nats", "ours", False),
}


def quantity(table: Records, name: str) -> np.ndarray:
    """One of QUANTITIES for each composite and mask, (M, R * R)."""
    if name != "normalised_logit":
        return np.abs(table[name].astype(np.float64))
    values = np.abs(table["logit"].astype(np.float64))
    largest = values.max(axis=1, keepdims=True)
    return np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)


def inside_sums(values: np.ndarray, inside: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """What means over masks in the key are made of, (M, C, 3); a row counts in its own cell.

    The last axis: sum of w v, sum of w, sum of v; w is the share of a mask in the key's box.
    """
    parts = np.stack([(inside * values).sum(1), inside.sum(1), values.sum(1)], axis=1)
    sums = np.zeros((len(cells), int(cells.max()) + 1, 3))
    sums[np.arange(len(cells)), cells] = parts
    return sums


def _mean(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean(axis=-1))


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation (ddof 1) over cells divided by their mean."""
    return np.asarray(values.std(axis=-1, ddof=1) / values.mean(axis=-1))


def edges(side: int, masks: int) -> np.ndarray:
    """Where masks begin and end along a side, (R + 1,) pixels: round(k * side / R)."""
    return np.rint(np.linspace(0, side, masks + 1)).astype(np.int64)


def mask_boxes(size: tuple[int, int], masks: int) -> np.ndarray:
    """The masks of a picture of (width, height), row-major: left, top, right, bottom, (R R, 4)."""
    across, down = edges(size[0], masks), edges(size[1], masks)
    left, top = np.meshgrid(across[:-1], down[:-1])
    right, bottom = np.meshgrid(across[1:], down[1:])
    return np.stack([left, top, right, bottom], axis=-1).reshape(-1, 4)


def overlap(boxes: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The share of each box (K, 4) that lies in another one; 0 for a box without area."""
    width = np.clip(np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0]), 0, None)
    height = np.clip(np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1]), 0, None)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(width * height / np.maximum(area, 1))


def erase(
    bench: Bench,
    active: Active,
    composite: Composite,
    masks: int,
    advance: Callable[[int], None] | None = None,
) -> dict[str, object]:
    """Erase R x R squares of one composite under an active intervention; the record's own part.

    Use it in inference mode. The answer of the composite itself, and of every masked picture, is
    read by the same code.
    """
    import torch

    from wheresight.lvlm.variants import Variants
    from wheresight.stimuli.composites import boxes as cell_boxes

    picture = bench.picture(composite)
    question = bench.question(composite.asks[0].caption)
    variants = Variants(bench.score, active, picture, question)
    covers = mask_boxes(picture.size, masks)
    pixels = np.asarray(picture)
    changes = [bool((pixels[y:b, x:r] != 255).any()) for x, y, r, b in covers]
    todo = np.flatnonzero(changes)

    first = variants.read(variants.prepare([picture]))
    token = int(first.logits[0].argmax())
    logit, odds = first.logits[0, token].double(), log_odds(first.logits, token)[0]
    features = first.features[0].double()
    found = np.zeros((3, len(covers)))
    source = _masked(variants, picture, covers)
    for here in variants.batches(len(todo)):
        chosen = todo[here]
        read = variants.read(source(chosen))
        change = torch.linalg.vector_norm(read.features.double() - features, dim=(1, 2))
        found[0, chosen] = (read.logits[:, token].double() - logit).cpu()
        found[1, chosen] = (log_odds(read.logits, token) - odds).cpu()
        found[2, chosen] = (change / torch.linalg.vector_norm(features)).cpu()
        if advance is not None:
            advance(len(chosen))
    if advance is not None and len(todo) < len(covers):
        advance(len(covers) - len(todo))
    return {
        "answer": bench.score.tokenizer.decode([token]),
        "logit": found[0],
        "log_odds": found[1],
        "features": found[2],
        "inside": overlap(covers, cell_boxes(composite.recipe)[composite.cell]),
        "unchanged": len(covers) - len(todo),
    }


def log_odds(logits: torch.Tensor, token: int) -> torch.Tensor:
    """log p - log(1 - p) of one token, (B,) float64, from logits (B, V)."""
    scores = logits.double()
    others = scores.clone()
    others[:, token] = -float("inf")
    return scores[:, token] - others.logsumexp(-1)


def _masked(
    variants: Variants, picture: Image.Image, covers: np.ndarray
) -> Callable[[np.ndarray], Preprocessed]:
    """What makes the processed pictures of some masks: painted where that is exact, else drawn."""
    import torch

    from wheresight.lvlm.preprocessing import Preprocessed

    def drawn(chosen: np.ndarray) -> Preprocessed:
        return variants.prepare([_covered(picture, covers[[n]]) for n in chosen])

    base = variants.prepare([picture])
    pixels = base.images["pixel_values"]
    if pixels.ndim != 4 or (pixels.shape[3], pixels.shape[2]) != picture.size:
        return drawn
    white = _pixels(variants, Image.new("RGB", picture.size, "white"))
    shown = torch.zeros(len(covers), *pixels.shape[2:], dtype=torch.bool)
    for n, (left, top, right, bottom) in enumerate(covers.tolist()):
        shown[n, top:bottom, left:right] = True
    side = round(len(covers) ** 0.5)
    odd = (np.arange(len(covers)) // side + np.arange(len(covers)) % side) % 2 == 1
    for half in (odd, ~odd):
        true = _pixels(variants, _covered(picture, covers[half]))
        where = shown[torch.from_numpy(half)].any(0)
        if not torch.equal(true[0], torch.where(where, white[0], pixels[0])):
            return drawn

    def painted(chosen: np.ndarray) -> Preprocessed:
        count = len(chosen)
        images = {key: value.expand(count, *value.shape[1:]) for key, value in base.images.items()}
        where = shown[torch.from_numpy(chosen)][:, None]
        images["pixel_values"] = torch.where(where, white, pixels)
        rows = tuple(replace(base.rows[0], picture=n) for n in range(count))
        return Preprocessed(rows, images, base.counts * count, base.sizes * count)

    return painted


def _pixels(variants: Variants, picture: Image.Image) -> torch.Tensor:
    return variants.prepare([picture]).images["pixel_values"]


def _covered(picture: Image.Image, covers: np.ndarray) -> Image.Image:
    """The picture with white squares."""
    out = picture.copy()
    for left, top, right, bottom in covers.tolist():
        out.paste((255, 255, 255), (left, top, right, bottom))
    return out
