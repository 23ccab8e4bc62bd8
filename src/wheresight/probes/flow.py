"""Flow: which image tokens does the text attend to?"""

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


@dataclass(frozen=True)
class Flow(Diagnostic):
    """Attention from text to each image token, as maps over the picture.

    BaPA (arXiv 2509.21984v1, section 5.5, figure 5) averages the attention of text tokens on each
    image token over all layers and heads, per data set and per example, and reads an even map as
    good. Two things are kept of each composite:

    * `map`, that average (the paper's), and the entropy of the map divided by log N, as in arXiv
      2503.17349, table 8. It misleads: the mean of many heads is even though each may look at one
      token only, and an uneven map is right where the key is.
    * `entropy`, the entropy of each head's own attention over the image tokens, mean over text
      rows, divided by log N; and `focus`, the share of a map that lies in the key's box divided by
      the share of the picture that the box is (1 where attention does not care).

    Text rows are the text behind the picture, the question's fixed words and the template's
    included. In a causal model a row of text sees all of the picture. A thumbnail's tokens are no
    part of the map; the model's own mask and all interventions are.

    Parameters:
        items: how many items, each shown in every cell.
    """

    name: ClassVar[str] = "flow"
    title: ClassVar[str] = "Flow"
    question: ClassVar[str] = (
        "Which parts of the picture does the text attend to, and does attention follow the key?"
    )
    reading: ClassVar[str] = (
        "The first map is the average over all composites: what it shows is not about the key, "
        "which stood everywhere equally often. Then one map for each place of the key (outlined), "
        "then single composites. 1 is an even share. Focus says how many times its even share the "
        "key's box is given."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Attention is not influence: a token may be attended to and change nothing.",
        "Tokens that many heads use as a sink stand out whatever it is that they show.",
        "A token's features have seen the whole picture in the vision tower.",
    )
    paper: ClassVar[str] = "BaPA, arXiv 2509.21984v1, section 5.5 and figure 5"
    unit: ClassVar[str] = "questions"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question: positive."),
        "grid_rows": Column("int32", "Rows of the grid of composites."),
        "grid_columns": Column("int32", "Columns of the grid of composites."),
        "height": Column("int32", "H, rows of image tokens."),
        "width": Column("int32", "W, image tokens in a row."),
        "map": Column(
            "list<float32>", "Attention of text on each of H * W image tokens, mean over all."
        ),
        "inside": Column("list<float32>", "Share of each token's part that is in the key's box."),
        "focus": Column("list<float32>", "Share in the key's box over its area, for each layer."),
        "mass": Column("list<float32>", "Attention of text on all image tokens, for each layer."),
        "entropy": Column("list<float32>", "Mean over heads of entropy / log N, for each layer."),
    }
    drawing: ClassVar[str] = "wheresight.report.diagnostics.flow:pictures"

    items: int = 12

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 1, 1_000_000)

    def steps(self, bench: Bench) -> int:
        """Questions of all composites."""
        return questions_of(bench, ("positive",))

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a composite."""
        from wheresight.probes.token_grid import attention_map, inside

        found: dict[str, list[object]] = {name: [] for name in self.columns}
        settings = bench.probe.settings
        for one in asked(bench, "attention", ("positive",), advance, rows="text", each=True):
            maps = attention_map(one)
            height, width = maps.shape[2:]
            within = inside(one, (height, width))
            by_layer = maps.mean(1)
            tokens = one.kept.image.shape[-1]
            record = {
                **one.place(),
                "grid_rows": settings.rows,
                "grid_columns": settings.columns,
                "height": height,
                "width": width,
                "map": maps.mean((0, 1)).ravel(),
                "inside": within.ravel(),
                "focus": focus(by_layer, within),
                "mass": one.kept.mass[..., 1].double().mean(1).numpy(),
                "entropy": one.kept.entropy.double().mean(1).numpy() / np.log(max(tokens, 2)),
            }
            for name, value in record.items():
                found[name].append(value)
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Entropy, mass and focus, and focus by place of the key."""
        findings = Findings()
        for spec, table in tables.items():
            clusters = Clusters(
                table["key"], replicates=context.replicates, level=context.level, seed=context.seed
            )
            values = quantities(table)
            cells = table["cell"]
            for name, (label, unit, definition) in QUANTITIES.items():
                findings.add(
                    name, label, clusters.mean(values[name]), spec, unit=unit,
                    definition=definition,
                )  # fmt: skip
            own = cells[:, None] == np.arange(int(cells.max()) + 1)
            by_cell = clusters.mean(np.where(own, values["focus"][:, None], np.nan))
            for cell in range(own.shape[1]):
                findings.add(
                    "focus", QUANTITIES["focus"][0], by_cell.at(cell), spec, unit="",
                    where={"cell": cell}, headline=False,
                )  # fmt: skip
            for layer in range(table["mass"].shape[1]):
                for name in ("mass", "entropy", "focus"):
                    findings.add(
                        name, f"{QUANTITIES[name][0]}, by layer",
                        clusters.mean(table[name][:, layer]), spec, unit=QUANTITIES[name][1],
                        where={"layer": layer}, headline=False,
                    )  # fmt: skip
        return findings.found


# What is read from the records: label, unit, whose definition.
QUANTITIES = {
    "focus": ("Attention in the key's box over its even share", "", "ours"),
    "entropy": ("Entropy of each head's attention over the picture", "share", "ours"),
    "map_entropy": ("Entropy of the average map", "share", "paper"),
    "mass": ("Attention of text on the picture", "share", "ours"),
}


def quantities(table: Records) -> dict[str, np.ndarray]:
    """QUANTITIES of each composite, (M,)."""
    found = {"focus": [], "map_entropy": []}  # type: dict[str, list[float]]
    for flat, within in zip(table["map"], table["inside"], strict=True):
        found["focus"].append(float(focus(flat[None, None], within[None])[0]))
        found["map_entropy"].append(normalised_entropy(flat))
    return {
        **{name: np.array(values) for name, values in found.items()},
        "entropy": np.asarray(table["entropy"]).mean(1),
        "mass": np.asarray(table["mass"]).mean(1),
    }


def focus(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The share of each map (..., H, W) in a box, over the box's share of the area."""
    with np.errstate(all="ignore"):
        share = (maps * inside).sum((-1, -2)) / maps.sum((-1, -2))
    return np.asarray(share / inside.mean())


def normalised_entropy(values: np.ndarray) -> float:
    """Entropy of non-negative values as shares of their sum, over the logarithm of their number."""
    shares = values.astype(np.float64) / values.sum()
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(len(shares)))
