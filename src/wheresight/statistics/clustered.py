"""Averages, ratios and other functions of sums, with intervals clustered by source image.

Everything here is a function of sums over rows, so that a bootstrap replicate is one matrix
product. Two quantities of the same clusters and seed use the same draws: the difference of their
replicates is a paired difference.

Legend: M rows, K clusters, Q quantities at once, R replicates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wheresight.statistics.bootstrap import ClusterBootstrap, interval
from wheresight.statistics.dispersion import cluster_sums


@dataclass(frozen=True, eq=False)
class Drawn:
    """A quantity and its replicates; `a - b` is the paired difference of two.

    Attributes:
        value: (...), on the rows themselves.
        replicates: (R, ...), the same on each draw; R is 0 where there are fewer than two clusters.
        level: coverage of the interval.
    """

    value: np.ndarray
    replicates: np.ndarray
    level: float = 0.95

    def __sub__(self, other: Drawn) -> Drawn:
        return Drawn(self.value - other.value, self.replicates - other.replicates, self.level)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Drawn:
        """A function of the quantity, element by element."""
        with np.errstate(all="ignore"):
            return Drawn(function(self.value), function(self.replicates), self.level)

    def interval(
        self, bounds: tuple[float, float] = (-np.inf, np.inf)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both ends, (...); NaN where there are no replicates, or the value is not finite."""
        if not len(self.replicates):
            nothing = np.full(np.shape(self.value), np.nan)
            return nothing, nothing
        return interval(self.value, self.replicates, self.level, bounds)

    def numbers(self, bounds: tuple[float, float] = (-np.inf, np.inf)) -> dict[str, Any]:
        """`value`, `low` and `high` as floats, for a quantity that is one number.

        >>> Drawn(np.array(0.5), np.empty((0,))).numbers()
        {'value': 0.5, 'low': nan, 'high': nan}
        """
        low, high = self.interval(bounds)
        return {"value": float(self.value), "low": float(low), "high": float(high)}

    def at(self, index: Any) -> Drawn:
        """One of many quantities."""
        return Drawn(self.value[index], self.replicates[:, index], self.level)


class Clusters:
    """Rows in clusters, drawn again and again with replacement.

    Args:
        labels: (M,), the cluster of each row: the id of its key image.
        replicates, level, seed: of the bootstrap. The draw depends on the set of labels and the
            seed alone.

    Attributes:
        clusters: (M,), the number of each row's cluster, from 0 to K - 1.
        count: K.
    """

    def __init__(
        self, labels: Any, *, replicates: int = 2000, level: float = 0.95, seed: int = 0
    ) -> None:
        names, self.clusters = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        self.count = len(names)
        self.level = level
        draws = ClusterBootstrap(self.count, replicates if self.count > 1 else 0, seed)
        self._weights = list(draws.draws())

    def of_sums(self, values: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Drawn:
        """A function of the sums over all rows.

        Args:
            values: (M, ...), what is summed.
            function: from sums (R, ...) to (R, ...); R is 1 for the rows themselves.
        """
        values = np.asarray(values, dtype=np.float64)
        sums = cluster_sums(values, self.clusters, self.count)
        flat = sums.reshape(self.count, -1)
        return self.of_weights(lambda w: function((w @ flat).reshape(-1, *sums.shape[1:])))

    def of_weights(self, function: Callable[[np.ndarray], np.ndarray]) -> Drawn:
        """A function of how often each cluster is counted.

        Args:
            function: from weights (R, K) to (R, ...); `clusters` says which cluster a row is in.
        """
        with np.errstate(all="ignore"):
            value = np.asarray(function(np.ones((1, self.count))))[0]
            drawn = [np.asarray(function(w.astype(np.float64))) for w in self._weights]
        empty = np.empty((0, *np.shape(value)))
        return Drawn(value, np.concatenate(drawn) if drawn else empty, self.level)

    def mean(self, values: np.ndarray) -> Drawn:
        """Means over rows of (M, ...); NaN entries are left out, each alone."""
        values = np.asarray(values, dtype=np.float64)
        known = np.isfinite(values)
        pair = np.stack([np.where(known, values, 0.0), known.astype(np.float64)], axis=-1)
        return self.of_sums(pair, lambda sums: sums[..., 0] / sums[..., 1])
