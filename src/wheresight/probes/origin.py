"""Origin: which parts of the model make the spread over cells, on one set of items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

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
from wheresight.probes.key_features import distances, key_features
from wheresight.probes.protocols import check_protocol
from wheresight.probes.psi import question_kinds
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.criterion import explained_share, shifted_delta
from wheresight.statistics.dispersion import delta, noise_floor

if TYPE_CHECKING:
    from wheresight.probes.bench import Bench

# The two-by-two: ids (unequal as in raster order, or equal) and mask inside the image.
RASTER_CAUSAL, RASTER_BOTH = "mask:causal", "mask:bidirectional"
EQUAL_CAUSAL, EQUAL_BOTH = "bapa+mask:causal", "bapa+mask:bidirectional"
CROSSED = (RASTER_CAUSAL, RASTER_BOTH, EQUAL_CAUSAL, EQUAL_BOTH)
# Controls, as the model's own mask has it; `none` is the model as it is.
CONTROLS = ("none", "bapa", "bapa_far", "v2pe", "bapa_cross", "shuffle")
CONDITIONS = (*CROSSED, *CONTROLS)

# Parts of the spread: what it is called, and the sum of conditions' spreads that it is.
PARTS: dict[str, tuple[str, dict[str, int]]] = {
    "ids": ("unequal ids (raster to equal ids, causal)", {RASTER_CAUSAL: 1, EQUAL_CAUSAL: -1}),
    "mask": ("causal mask (causal to bidirectional, raster)", {RASTER_CAUSAL: 1, RASTER_BOTH: -1}),
    "both": (
        "less what ids and mask share",
        {RASTER_CAUSAL: -1, EQUAL_CAUSAL: 1, RASTER_BOTH: 1, EQUAL_BOTH: -1},
    ),
    "encoder": ("what is left when the language model cannot tell places", {EQUAL_BOTH: 1}),
}
# Contrasts that tell what about the ids it is; not parts of the same sum.
CONTRASTS: dict[str, tuple[str, dict[str, int]]] = {
    "equality": ("equal ids, as far away as before (none - bapa_far)", {"none": 1, "bapa_far": -1}),
    "distance": (
        "moving equal ids next to the text (bapa_far - bapa)",
        {"bapa_far": 1, "bapa": -1},
    ),
    "span": ("unequal ids within a short span (none - v2pe)", {"none": 1, "v2pe": -1}),
    "across": ("equal for text, raster inside (none - bapa_cross)", {"none": 1, "bapa_cross": -1}),
    "arrangement": ("ids dealt out at random (none - shuffle)", {"none": 1, "shuffle": -1}),
}


@dataclass(frozen=True)
class Origin(Diagnostic):
    """How much of the spread over cells comes from ids, from the mask, and from before both.

    BaPA v1 (arXiv 2509.21984) blames unequal rotary ids; its second version blames the mismatch of
    a bidirectional tower and a causal language model. Both can be taken away, alone and together,
    on one set of items: {raster, equal ids} x {causal, bidirectional in the image}. With equal ids
    and a bidirectional mask the language model is exactly blind to the order of image tokens, so
    the spread that is left there was made before it, by tower, projector and pixels; that exact
    control is missing in the papers. With S the spread over cells of a condition,

        S(raster, causal) = [S(r,c) - S(e,c)] + [S(r,c) - S(r,b)]
                            - [S(r,c) - S(e,c) - S(r,b) + S(e,b)] + S(e,b)

    that is ids + mask - what both take away together + the rest. A negative part makes cells more
    alike by being there. S is measured in two ways:

    * `hits`: the variance over cells (ddof 1) of the hit rate in percent, the paper's Delta, less
      the variance that items alone make (`statistics/dispersion.py`);
    * `margin`: the same of the mean margin log P(Yes) - log P(No) of positives, nats, which no
      ceiling squeezes and which needs fewer items.

    Equal ids do two more things, which the controls take apart: `bapa_far` makes ids equal without
    moving the image nearer to the text, `v2pe` moves it near without equality, `bapa_cross` makes
    it equal for text alone, `shuffle` keeps distances on average and destroys the arrangement.

    Making ids equal may also only raise the rate of Yes, and Delta must fall near a ceiling. The
    criterion shift is the one probit constant, added to all cells of `none`, that gives the average
    hit rate of `bapa`; `explained` is the share of Delta's change that it gives by itself.

    The tower is looked at directly too: features after the projector are averaged over the key's
    box (weighted by area), and their variance over cells is put in relation to that over items.

    Parameters:
        items: how many items, each shown in every cell.
        protocol: `balanced` asks matched negatives too, for false alarms; `paper` positives alone.
    """

    name: ClassVar[str] = "origin"
    title: ClassVar[str] = "Origin of the spread"
    question: ClassVar[str] = (
        "How much of the spread over cells is made by unequal rotary ids, by the causal mask, and "
        "by what comes before the language model?"
    )
    reading: ClassVar[str] = (
        "Above: the spread over cells under each condition, noise of items taken out; the first "
        "four are the two-by-two. Middle: the parts that add up to the spread with raster ids and "
        "a causal mask. Below: what about the ids it is. Left in hit rates, where a ceiling "
        "squeezes all differences, right in margins, where none does. An interval that holds 0 "
        "says that these items do not show such a part; a part below 0 makes cells more alike."
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "A model trained with raster ids and a causal mask is out of its distribution under every "
        "other condition: a part that vanishes may reappear in a model trained without it.",
        "What is left with equal ids and a bidirectional mask was made before the language model, "
        "but how large it looks is up to the language model as it is under that condition.",
        "Spread less noise is unbiased and may be below 0; shares of a spread near 0 mean nothing "
        "and are then left undefined.",
        "A lower spread is no gain where the model answers worse: compare accuracy and false alarms"
        ".",
    )
    paper: ClassVar[str] = "BaPA, arXiv 2509.21984 v1 and v2: the claims compared"
    unit: ClassVar[str] = "answers"
    columns: ClassVar[Mapping[str, Column]] = {
        "item": ITEM,
        "key": KEY,
        "cell": CELL,
        "question": Column("string", "Kind of question."),
        "condition": Column("string", "Canonical spec."),
        "answer": Column("string", "yes, no or neither."),
        "margin": Column("float64", "log P(Yes) - log P(No), nats."),
        "over_cells": Column(
            "float64", "Squared distance of the key's features from their mean over cells; NaN "
            "but for positives under none."
        ),
        "over_items": Column(
            "float64", "Squared distance of that mean from the mean over items; likewise."
        ),
    }  # fmt: skip
    drawing: ClassVar[str] = "wheresight.report.diagnostics.origin:pictures"
    once: ClassVar[bool] = True

    items: int = 48
    protocol: str = "balanced"

    def __post_init__(self) -> None:
        whole_number(self.name, "items", self.items, 2, 1_000_000)
        check_protocol(self.name, self.protocol)

    def specs(self, intervention: str) -> tuple[str, ...]:
        """All conditions."""
        return CONDITIONS

    def steps(self, bench: Bench) -> int:
        """Answers under all conditions."""
        asked = bench.composites(bench.items, question_kinds(self.protocol))
        return len(CONDITIONS) * sum(len(c.asks) for c in asked)

    def measure(self, bench: Bench, advance: Callable[[int], None]) -> Columns:
        """Return one row a question and condition."""
        found: dict[str, list[Any]] = {name: [] for name in self.columns}
        features: dict[tuple[str, int], np.ndarray] = {}
        composites = bench.composites(bench.items, question_kinds(self.protocol))
        size = max(1, bench.score.batch_size)
        for start in range(0, len(composites), size):
            batch = composites[start : start + size]
            encoded = bench.encode(batch)
            for composite, vector in zip(batch, key_features(bench, encoded, batch), strict=True):
                if composite.asks[0].question == "positive":
                    features[composite.item, composite.cell] = vector
            answers = bench.score.score_all(encoded, list(CONDITIONS), advance=advance)
            asked = [(c, question) for c in batch for question in c.asks]
            for condition, given in zip(CONDITIONS, answers, strict=True):
                for (composite, question), answer in zip(asked, given, strict=True):
                    row = {
                        "item": composite.item, "key": composite.key, "cell": composite.cell,
                        "question": question.question, "condition": condition,
                        "answer": answer.answer, "margin": answer.margin,
                    }  # fmt: skip
                    for column, value in row.items():
                        found[column].append(value)
        cells, items = distances(features)
        for n in range(len(found["item"])):
            place = (found["item"][n], found["cell"][n])
            own = found["question"][n] == "positive" and found["condition"][n] == "none"
            found["over_cells"].append(cells[place] if own else float("nan"))
            found["over_items"].append(items[place[0]] if own else float("nan"))
        return found

    def findings(self, tables: Mapping[str, Records], context: Context) -> list[Finding]:
        """Spreads, parts, contrasts, the criterion shift, and the tower's own part."""
        (table,) = tables.values()
        grids = {name: grid_of(table, name) for name in CONDITIONS}
        clusters = Clusters(
            keys_of(table),
            replicates=context.replicates, level=context.level, seed=context.seed,
        )  # fmt: skip
        findings = Findings()
        for measure, (label, unit) in MEASURES.items():
            spreads = {name: spread(clusters, grid[measure]) for name, grid in grids.items()}
            for name, drawn in spreads.items():
                findings.add(
                    f"{measure}.spread", f"{label}: spread over cells", drawn, "none", unit=unit,
                    where={"condition": name}, headline=name in CROSSED,
                )  # fmt: skip
            whole = spreads[RASTER_CAUSAL]
            for name, (words, terms) in PARTS.items():
                amount = combined(spreads, terms)
                findings.add(
                    f"{measure}.part.{name}", f"{label}: {words}", amount, "none", unit=unit
                )
                findings.add(
                    f"{measure}.part_share.{name}", f"{label}: {words}, share of {RASTER_CAUSAL}",
                    share(amount, whole), "none", unit="share", note=_near_zero(whole),
                    headline=not _near_zero(whole),
                )  # fmt: skip
            for name, (words, terms) in CONTRASTS.items():
                findings.add(
                    f"{measure}.contrast.{name}", f"{label}: {words}", combined(spreads, terms),
                    "none", unit=unit,
                )  # fmt: skip
        for name, grid in grids.items():
            findings.add(
                "hit_rate", "Hit rate", clusters.mean(grid["hits"].mean(axis=1) / 100), "none",
                unit="share", where={"condition": name}, headline=False, bounds=(0, 1),
            )  # fmt: skip
            alarms = false_alarms(table, name, clusters)
            if alarms is not None:
                findings.add(
                    "false_alarm_rate", "False-alarm rate", alarms, "none", unit="share",
                    where={"condition": name}, headline=False, bounds=(0, 1),
                )  # fmt: skip
        for name, words, drawn, unit, note in criterion(clusters, grids):
            least = 0.0 if unit == "squared" else -np.inf
            findings.add(
                f"criterion.{name}", words, drawn, "none", unit=unit, note=note,
                bounds=(least, np.inf),
            )  # fmt: skip
        own = np.isfinite(table["over_cells"])
        tower = Clusters(
            table["key"][own],
            replicates=context.replicates, level=context.level, seed=context.seed,
        )  # fmt: skip
        pair = np.stack([table["over_cells"][own], table["over_items"][own]], axis=1)
        findings.add(
            "encoder.cell_share", "Tower: share of the variance of the key's features over cells",
            tower.of_sums(pair, lambda s: s[..., 0] / s.sum(-1)), "none", unit="share",
            bounds=(0, 1),
        )  # fmt: skip
        return findings.found


# What is spread over cells: label, unit of its variance.
MEASURES = {"hits": ("Hit rate", "squared"), "margin": ("Margin, nats²", "")}


def keys_of(table: Records) -> np.ndarray:
    """The key of each item, in the order of `grid_of`, (M,)."""
    by_item = dict(zip(table["item"], table["key"], strict=True))
    return np.array([by_item[item] for item in sorted(by_item)])


def grid_of(table: Records, condition: str) -> dict[str, np.ndarray]:
    """Hits (0 or 100) and margins of positives under a condition, (M, C), items sorted by id."""
    own = (table["condition"] == condition) & (table["question"] == "positive")
    items = {item: n for n, item in enumerate(sorted(set(table["item"])))}
    where = np.array([items[item] for item in table["item"][own]]), table["cell"][own]
    hits = np.full((len(items), int(table["cell"].max()) + 1), np.nan)
    margins = hits.copy()
    hits[where] = 100.0 * (table["answer"][own] == "yes")
    margins[where] = table["margin"][own]
    return {"hits": hits, "margin": margins}


def spread(clusters: Clusters, values: np.ndarray) -> Drawn:
    """Variance over cells (ddof 1) of the mean over items, less the noise floor, of (M, C)."""
    sums = np.stack([np.ones_like(values), values], axis=-1)
    means = clusters.of_sums(sums, lambda s: s[..., 1] / s[..., 0]).map(delta)
    floor = clusters.of_weights(lambda w: noise_floor(values, clusters.clusters, w))
    return means - floor


def combined(spreads: Mapping[str, Drawn], terms: Mapping[str, int]) -> Drawn:
    """A sum of conditions' spreads, each with its sign; paired, as all have the same draws."""
    first = next(iter(spreads.values()))
    value = sum(sign * spreads[name].value for name, sign in terms.items())
    drawn = sum(sign * spreads[name].replicates for name, sign in terms.items())
    return Drawn(np.asarray(value), np.asarray(drawn), first.level)


def share(part: Drawn, whole: Drawn) -> Drawn:
    """A part as a share of the whole; undefined where the whole's interval holds 0."""
    if _near_zero(whole):
        nothing = np.full(part.replicates.shape, np.nan)
        return Drawn(np.asarray(np.nan), nothing, part.level)
    with np.errstate(all="ignore"):
        replicates = np.where(whole.replicates > 0, part.replicates / whole.replicates, np.nan)
    return Drawn(np.asarray(part.value / whole.value), replicates, part.level)


def _near_zero(whole: Drawn) -> str:
    low = float(whole.interval()[0])
    if low > 0:
        return ""
    return "The spread that it is a share of is not above 0 with these items."


def false_alarms(table: Records, condition: str, clusters: Clusters) -> Drawn | None:
    """Share of negatives answered Yes under a condition; None if none were asked."""
    own = (table["condition"] == condition) & (table["question"] != "positive")
    if not own.any():
        return None
    items = {item: n for n, item in enumerate(sorted(set(table["item"])))}
    sums = np.zeros((len(items), 2))
    where = np.array([items[item] for item in table["item"][own]])
    np.add.at(sums, where, np.stack([table["answer"][own] == "yes", np.ones(own.sum())], 1))
    return clusters.of_sums(sums, lambda s: s[..., 0] / s[..., 1])


def criterion(
    clusters: Clusters, grids: Mapping[str, Mapping[str, np.ndarray]]
) -> list[tuple[str, str, Drawn, str, str]]:
    """The criterion shift from `none` to `bapa`: the constant, Delta after it, what it explains.

    Returns name, label, numbers, unit and note of each. What it explains is undefined where Delta
    does not change.
    """
    both = np.stack([grids[name]["hits"] / 100 for name in ("none", "bapa")], axis=-1)
    sums = np.concatenate([both, np.ones_like(both[..., :1])], axis=-1)

    def numbers(found: np.ndarray) -> np.ndarray:
        count = found[:, 0, 2]
        rates = found[..., :2] / found[..., 2:]
        before, after = delta(100 * rates[..., 0]), delta(100 * rates[..., 1])
        shift, shifted = shifted_delta(rates[..., 0], rates[..., 1].mean(-1), count)
        explained = explained_share(before, after, shifted)
        return np.stack([shift, before, after, shifted, explained], axis=-1)

    drawn = clusters.of_sums(sums, numbers)
    low, high = (drawn.at(1) - drawn.at(2)).interval()
    note = ""
    if not (low > 0 or high < 0):
        note = "Delta does not change with these items, so there is nothing to explain."
        drawn.value[4] = np.nan
    words = (
        ("shift", "Criterion shift from none to bapa, probits", "z"),
        ("before", "Delta of none, noise left in", "squared"),
        ("after", "Delta of bapa, noise left in", "squared"),
        ("shifted", "Delta of none after the shift alone", "squared"),
        ("explained", "Share of Delta's change that the shift explains", "share"),
    )
    return [
        (name, label, drawn.at(n), unit, note if name == "explained" else "")
        for n, (name, label, unit) in enumerate(words)
    ]
