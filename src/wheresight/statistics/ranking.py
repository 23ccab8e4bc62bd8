"""How well quantities tell right answers from wrong ones, with intervals clustered by source image.

Legend: M rows, K clusters, Q quantities at once.
"""

from __future__ import annotations

import numpy as np

from wheresight.statistics.bootstrap import ClusterBootstrap
from wheresight.statistics.clustered import Drawn


def clustered_auroc(
    values: np.ndarray,
    right: np.ndarray,
    labels: np.ndarray,
    strata: np.ndarray | None = None,
    *,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Drawn:
    """The chance that a right row has a higher value than a wrong one, ties half, (Q,).

    A replicate weighs each pair by how often both its clusters are drawn: a bilinear form.

    Args:
        values: (M, Q).
        right: (M,) bool.
        labels: (M,), the cluster of each row.
        strata: (M,); only pairs within a stratum are compared. None compares all.
        replicates, level, seed: of the bootstrap; draws are those of `Clusters`.

    Without a pair it is NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    names, clusters = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    count = len(names)
    wins = np.zeros((count, count, values.shape[1]))
    pairs = np.zeros((count, count))
    groups = np.zeros(len(values)) if strata is None else np.asarray(strata)
    for group in np.unique(groups):
        above = np.flatnonzero((groups == group) & right)
        below = np.flatnonzero((groups == group) & ~right)
        higher, lower = values[above][:, None], values[below][None]
        won = (higher > lower) + 0.5 * (higher == lower)
        index = np.ix_(clusters[above], clusters[below])
        at = (np.broadcast_to(index[0], won.shape[:2]), np.broadcast_to(index[1], won.shape[:2]))
        np.add.at(wins, at, won)
        np.add.at(pairs, at, 1.0)

    def auroc(weights: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            won = np.einsum("rk,klq,rl->rq", weights, wins, weights, optimize=True)
            return np.asarray(won / np.einsum("rk,kl,rl->r", weights, pairs, weights)[:, None])

    value = auroc(np.ones((1, count)))[0]
    drawn = ClusterBootstrap(count, replicates if count > 1 else 0, seed).draws()
    found = [auroc(weights.astype(np.float64)) for weights in drawn]
    return Drawn(value, np.concatenate(found) if found else np.empty((0, *value.shape)), level)
