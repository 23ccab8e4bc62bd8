"""From all answers of all cells to the numbers of the study: means over seeds, two intervals.

A number of a scheme is the mean over its seeds. It has two 95 % intervals, for two sources of
doubt:

- *items*: the seeds as they are, other pictures. A bootstrap over key pictures, one draw for all
  cells, so that differences are paired.
- *seeds*: the pictures as they are, other seeds. Student's t over the seeds, of differences by
  seed, which share their weights' start, scenes and questions. Three leave two degrees of freedom.

A difference is called settled where both leave 0 out on one side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from design import REFERENCE, SCHEMES
from measure import LOCALISATION, PROBE, TWODS, Measured
from scipy.stats import t as student

from wheresight.errors import RunError
from wheresight.statistics.bootstrap import exact_at_the_ends
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.dispersion import cluster_sums, delta, noise_floor

REPLICATES = 4000
# The probe and the benchmark about its composites share their key pictures, and so their draw.
_SEEDS = {PROBE: 0, LOCALISATION: 0, TWODS: 1}
MEASURES = {
    "accuracy": "balanced accuracy",
    "worst": "worst cell",
    "delta": "debiased Delta",
    "strict": "right in every cell",
    "2ds": "2DS",
    "localisation": "localisation",
    "awareness": "awareness",
}
# The least and greatest value of what has them; an interval is cut there.
_BOUNDS = {
    "accuracy": (0.0, 1.0),
    "worst": (0.0, 1.0),
    "strict": (0.0, 1.0),
    "2ds": (-math.inf, 1.0),
    "localisation": (-math.inf, 1.0),
    "awareness": (-math.inf, 1.0),
}
_ANYTHING = (-math.inf, math.inf)
_SHARES = ("accuracy", "worst", "strict")
# Readings of the diagnostics: their name, tool, name there, and where.
READINGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "tokens moved": ("psi", "psi_logp", {"condition": "content: all tokens"}),
    "ids moved": ("psi", "psi_logp", {"condition": "ids of all tokens"}),
    "no picture": ("psi", "psi_logp", {"condition": "no picture"}),
    "norm ratio": ("norms", "ratio.input", {}),
}


@dataclass(frozen=True)
class Number:
    """A mean over seeds.

    Attributes:
        value: the mean.
        items, seeds: both intervals, low and high; NaN where there is none.
        each: the value of every seed.
    """

    value: float
    items: tuple[float, float]
    seeds: tuple[float, float]
    each: tuple[float, ...]

    @property
    def settled(self) -> int:
        """1 or -1 where both intervals are above or below 0; else 0."""
        ends = (*self.items, *self.seeds)
        if not all(math.isfinite(end) for end in ends):
            return 0
        return int(min(ends) > 0) - int(max(ends) < 0)

    @property
    def agreed(self) -> bool:
        """Two seeds at least, all of one sign, and the interval over pictures on that side of 0."""
        ends = (*self.items, *self.each)
        if len(self.each) < 2 or not all(math.isfinite(end) for end in ends):
            return False
        return min(ends) > 0 or max(ends) < 0

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""

        def plain(values: Sequence[float]) -> list[float | None]:
            return [v if math.isfinite(v) else None for v in values]

        return {
            "value": plain([self.value])[0],
            "items": plain(self.items),
            "seeds": plain(self.seeds),
            "each": plain(self.each),
        }


def summarise(done: Sequence[Measured]) -> dict[str, Any]:
    """The numbers of all schemes of which every seed is whole, as plain JSON values.

    Raises:
        RunError: cells that were asked different questions, or no scheme to compare with.
    """
    drawn = {one.cell.name: _drawn(one.answers) for one in _alike(done)}
    by_scheme: dict[tuple[bool, str], list[Measured]] = {}
    for one in done:
        by_scheme.setdefault((one.cell.adapted, one.cell.scheme), []).append(one)
    seeds = {one.cell.seed for one in done}
    schemes = []
    trials = _key_pictures(done[0].answers)
    for (adapted, scheme), own in sorted(
        by_scheme.items(), key=lambda found: (found[0][0], list(SCHEMES).index(found[0][1]))
    ):
        if {one.cell.seed for one in own} != seeds:
            continue
        own = sorted(own, key=lambda one: one.cell.seed)
        reference = by_scheme.get((adapted, REFERENCE), [])
        reference = sorted(reference, key=lambda one: one.cell.seed)
        comparable = len(reference) == len(own) and scheme != REFERENCE
        entry: dict[str, Any] = {
            "scheme": scheme,
            "spec": own[0].cell.spec,
            "adapted": adapted,
            "measures": {
                name: _number(
                    [drawn[one.cell.name][name] for one in own],
                    _BOUNDS.get(name, _ANYTHING),
                    trials if name in _SHARES else None,
                ).to_json()
                for name in MEASURES
            },
            "readings": {
                name: _over_seeds([_reading(one, name) for one in own]).to_json()
                for name in READINGS
            },
        }
        if comparable:
            pairs = list(zip(own, reference, strict=True))
            entry["differences"] = {
                name: _number(
                    [drawn[a.cell.name][name] - drawn[b.cell.name][name] for a, b in pairs],
                    _of_differences(_BOUNDS.get(name, _ANYTHING)),
                ).to_json()
                for name in MEASURES
            } | {
                name: _over_seeds(
                    [_reading(a, name) - _reading(b, name) for a, b in pairs]
                ).to_json()
                for name in READINGS
            }
        schemes.append(entry)
    if not any(entry["scheme"] == REFERENCE for entry in schemes):
        raise RunError("No cell of the scheme none is whole; make none-seed0 first.")
    return {"seeds": sorted(seeds), "schemes": schemes}


def number(found: dict[str, Any]) -> Number:
    """Read what `Number.to_json` wrote."""

    def pair(values: Sequence[float | None]) -> tuple[float, ...]:
        return tuple(math.nan if v is None else v for v in values)

    low_high, seeds = pair(found["items"]), pair(found["seeds"])
    return Number(
        pair([found["value"]])[0],
        (low_high[0], low_high[1]),
        (seeds[0], seeds[1]),
        pair(found["each"]),
    )


def _alike(done: Sequence[Measured]) -> Sequence[Measured]:
    """The same cells, after their questions were found to be the same."""
    asked = ["test", "item", "cluster", "cell", "question", "chance"]
    for one in done[1:]:
        if not one.answers.select(asked).equals(done[0].answers.select(asked)):
            raise RunError(
                f"{one.cell.name} was asked other questions than {done[0].cell.name}. Measure both "
                "with the same design."
            )
    return done


def _key_pictures(answers: pa.Table) -> int:
    """How many key pictures the probe shows."""
    pairs = zip(answers["test"].to_pylist(), answers["cluster"].to_pylist(), strict=True)
    return len({cluster for test, cluster in pairs if test == PROBE})


def _drawn(answers: pa.Table) -> dict[str, Drawn]:
    """Every measure of one cell, with its replicates."""
    right = answers["right"].to_numpy(zero_copy_only=False).astype(np.float64)
    columns = {name: np.array(answers[name].to_pylist()) for name in answers.column_names}
    found: dict[str, Drawn] = {}
    for test in (TWODS, LOCALISATION):
        own = columns["test"] == test
        chance = columns["chance"][own].astype(np.float64)
        pair = np.stack([right[own] - chance, 1 - chance], axis=1)
        found[test] = _clusters(test, columns["cluster"][own]).of_sums(
            pair, lambda sums: sums[..., 0] / sums[..., 1]
        )
    awareness = [found[TWODS], found[LOCALISATION]]
    found["awareness"] = Drawn(
        np.mean([one.value for one in awareness], axis=0),
        np.mean([one.replicates for one in awareness], axis=0),
    )
    own = columns["test"] == PROBE
    return found | _of_probe({n: v[own] for n, v in columns.items()}, right[own])


def _of_probe(columns: dict[str, np.ndarray], right: np.ndarray) -> dict[str, Drawn]:
    """Measures of the grid probe: an item's score in a cell is half of it right when it is there,
    half the share of its absent captions that are rejected."""
    items, item = np.unique(columns["item"], return_inverse=True)
    count, cells = len(items), int(columns["cell"].max()) + 1
    scores = np.zeros((count, cells))
    positive = columns["question"] == "positive"
    for asked in (positive, ~positive):
        sums, times = np.zeros((count, cells)), np.zeros((count, cells))
        np.add.at(sums, (item[asked], columns["cell"][asked]), right[asked])
        np.add.at(times, (item[asked], columns["cell"][asked]), 1)
        scores += sums / times / 2
    labels = np.empty(count, dtype=object)
    labels[item] = columns["cluster"]
    clusters = _clusters(PROBE, labels)
    sums = cluster_sums(scores, clusters.clusters, clusters.count)
    sizes = np.bincount(clusters.clusters, minlength=clusters.count)

    def by_cell(weights: np.ndarray) -> np.ndarray:
        means: np.ndarray = weights @ sums / (weights @ sizes)[:, None]
        return means

    def spread(weights: np.ndarray) -> np.ndarray:
        floor = noise_floor(100 * scores, clusters.clusters, weights)
        difference: np.ndarray = delta(100 * by_cell(weights)) - floor
        return difference

    return {
        "accuracy": clusters.of_weights(lambda w: by_cell(w).mean(axis=1)),
        "worst": clusters.of_weights(lambda w: by_cell(w).min(axis=1)),
        "delta": clusters.of_weights(spread),
        "strict": clusters.mean((scores == 1).all(axis=1)),
    }


def _clusters(test: str, labels: Any) -> Clusters:
    return Clusters(labels, replicates=REPLICATES, seed=_SEEDS[test])


def _number(
    own: Sequence[Drawn], bounds: tuple[float, float] = _ANYTHING, trials: int | None = None
) -> Number:
    """The mean of one quantity over seeds.

    Args:
        own: of each seed.
        bounds: the least and the greatest value that it can have.
        trials: of a share, how many key pictures there are: where all are right, or none, every
            replicate repeats them, and the exact binomial limit takes the bootstrap's place.
    """
    mean = Drawn(
        np.mean([one.value for one in own], axis=0),
        np.mean([one.replicates for one in own], axis=0),
    )
    low, high = mean.interval(bounds)
    if trials is not None:
        low, high = exact_at_the_ends(mean.value, low, high, trials)
    each = tuple(float(one.value) for one in own)
    return Number(float(mean.value), (float(low), float(high)), _t_interval(each, bounds), each)


def _of_differences(bounds: tuple[float, float]) -> tuple[float, float]:
    """The least and the greatest difference of two values within bounds."""
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def _over_seeds(each: Sequence[float]) -> Number:
    return Number(
        float(np.mean(each)), (math.nan, math.nan), _t_interval(each), tuple(map(float, each))
    )


def _t_interval(
    each: Sequence[float], bounds: tuple[float, float] = _ANYTHING, level: float = 0.95
) -> tuple[float, float]:
    """Student's t interval of a mean, cut at the bounds; NaN for a single value."""
    if len(each) < 2 or not np.isfinite(each).all():
        return math.nan, math.nan
    half = student.ppf((1 + level) / 2, len(each) - 1) * np.std(each, ddof=1) / len(each) ** 0.5
    low, high = np.clip([np.mean(each) - half, np.mean(each) + half], *bounds)
    return float(low), float(high)


def _reading(one: Measured, name: str) -> float:
    tool, what, where = READINGS[name]
    for found in one.record["findings"]:
        same = found["tool"] == tool and found["name"] in (what, f"{tool}.{what}")
        if same and found["where"] == where and found["definition"] == "ours":
            return math.nan if found["value"] is None else float(found["value"])
    raise RunError(f"The diagnostics of {one.cell.name} did not find {tool} {what} {where}.")
