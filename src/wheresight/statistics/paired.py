"""Paired tests of two interventions on the same items: McNemar's test and Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, chi2

from wheresight.statistics.dispersion import cluster_sums

# From here on mid-p replaces the exact test, which is needlessly cautious when discreteness is
# slight (Fagerland, Lydersen and Laake 2013).
MID_P_FROM = 25


@dataclass(frozen=True)
class McNemar:
    """One test: discordant items each way, the method used, and the two-sided p."""

    only_a_right: int
    only_b_right: int
    method: str
    p: float


def mcnemar(
    right_a: np.ndarray, right_b: np.ndarray, clusters: np.ndarray | None = None
) -> McNemar:
    """Test that a and b are right equally often on the same items.

    Args:
        right_a: true where a is right, (M,).
        right_b: true where b is right, (M,).
        clusters: number of the cluster of each item, (M,); by default each item is its own.

    With every item its own cluster: the exact binomial test when fewer than 25 items are
    discordant, and mid-p (the same less half the chance of the observed split, on both sides)
    otherwise. With larger clusters: chi-squared (1) of (sum d)^2 / sum d^2, where d is a cluster's
    items that only a has right minus those that only b has right (the modified Obuchowski test of
    Yang, Sun and Hardin 2010); that is McNemar's own statistic when every cluster is one item.
    """
    only_a = np.asarray(right_a, dtype=bool) & ~np.asarray(right_b, dtype=bool)
    only_b = np.asarray(right_b, dtype=bool) & ~np.asarray(right_a, dtype=bool)
    more, less = int(only_a.sum()), int(only_b.sum())
    if clusters is not None and len(np.unique(clusters)) < len(clusters):
        difference = only_a.astype(np.int64) - only_b
        sums = cluster_sums(difference, clusters, int(clusters.max()) + 1)
        squares = float((sums**2).sum())
        p = float(chi2.sf(float(sums.sum()) ** 2 / squares, 1)) if squares else 1.0
        return McNemar(more, less, "clustered chi-squared", p)
    discordant, fewer = more + less, min(more, less)
    tail = 2 * float(binom.cdf(fewer, discordant, 0.5))
    if discordant < MID_P_FROM:
        return McNemar(more, less, "exact binomial", min(1.0, tail))
    p = tail - float(binom.pmf(fewer, discordant, 0.5))
    return McNemar(more, less, "mid-p binomial", min(1.0, p))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p values corrected by Holm's step-down rule (1979), in the order given, (T,)."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    corrected = np.empty_like(stepped)
    corrected[order] = stepped
    return corrected
