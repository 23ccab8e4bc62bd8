"""The bootstrap by item: whole clusters of items are drawn, and one draw serves all interventions.

A cluster is a key image: items that share one are drawn together. scipy.stats.bootstrap draws the
rows of one statistic at a time; here a replicate is a row of weights, so that most statistics are
one matrix product and the differences between interventions are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

# Numbers in one chunk of weights: 8 MB, with room in the cache for the ranks of one cell.
CHUNK_NUMBERS = 1_000_000


@dataclass(frozen=True)
class ClusterBootstrap:
    """A seeded draw of clusters with replacement.

    Args:
        clusters: number of clusters, K.
        replicates: number of replicates, R.
        seed: seed of the draw; the draw depends on nothing else.
    """

    clusters: int
    replicates: int
    seed: int

    def draws(self, chunk: int | None = None) -> Iterator[np.ndarray]:
        """Yield how often each cluster is drawn, (r, K) float32, in chunks of replicates.

        The replicates are the same whatever the chunk, and on every call.
        """
        chunk = chunk or max(1, CHUNK_NUMBERS // max(1, self.clusters))
        generator = np.random.default_rng(self.seed)
        for start in range(0, self.replicates, chunk):
            rows = min(chunk, self.replicates - start)
            drawn = generator.integers(0, self.clusters, size=(rows, self.clusters))
            drawn += np.arange(rows)[:, None] * self.clusters
            counts = np.bincount(drawn.ravel(), minlength=rows * self.clusters)
            yield counts.reshape(rows, self.clusters).astype(np.float32)


def interval(
    estimate: np.ndarray,
    replicates: np.ndarray,
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval with the bootstrap's own bias taken out.

    Args:
        estimate: (...), computed on the items themselves.
        replicates: (R, ...), the same on each replicate.
        level: coverage aimed at.
        bounds: the least and greatest value possible; the interval is cut there.

    A replicate adds sampling noise to data that have it already, so a variance over cells is too
    large in it by about one noise floor, and plain percentiles may lie wholly above the estimate.
    So the percentiles are moved by the mean of the replicates minus the estimate. For rates and
    other averages that is nearly nothing. Replicates that are NaN are left out.
    """
    estimate = np.asarray(estimate, dtype=np.float64)
    replicates = np.asarray(replicates, dtype=np.float64)
    tail = (1 - level) / 2
    finite = np.isfinite(replicates).any(axis=0) & np.isfinite(estimate)
    usable = np.where(finite, replicates, 0.0)
    low, high = np.nanquantile(usable, [tail, 1 - tail], axis=0)
    bias = np.nanmean(usable, axis=0) - np.where(finite, estimate, 0.0)
    ends = [np.where(finite, np.clip(end - bias, *bounds), np.nan) for end in (low, high)]
    return ends[0], ends[1]


def exact_at_the_ends(
    estimate: np.ndarray, low: np.ndarray, high: np.ndarray, trials: int, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Widen the intervals of shares that are exactly 0 or 1, which no bootstrap can do.

    Args:
        estimate: shares, (...); low and high are their intervals.
        trials: number of independent trials behind each share: the clusters.
        level: coverage aimed at.

    When all trials came out alike every replicate repeats them, and the bootstrap interval has no
    width. There the exact binomial limit (Clopper and Pearson 1934) is put in its place: with 100
    of 100 right at 95 %, from 0.964 to 1.
    """
    limit = float(beta.ppf(1 - (1 - level) / 2, 1, trials))
    estimate = np.asarray(estimate)
    return (
        np.where(estimate == 1, np.minimum(low, 1 - limit), low),
        np.where(estimate == 0, np.maximum(high, limit), high),
    )
