"""How much an accuracy differs between cells, and how much of that is noise.

Accuracies are in percent and variances in percent squared throughout; cells are the last axis.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from wheresight.statistics.signal_detection import corrected_share


def delta(accuracies: np.ndarray) -> np.ndarray:
    """Return the paper's Delta: the sample variance (ddof 1) over cells, percent squared.

    Args:
        accuracies: (..., C), percent. With a single cell Delta is NaN.

    All ten rows of Table 1 of arXiv 2509.21984v1 fit ddof 1, and nine do not fit ddof 0.
    """
    accuracies = np.asarray(accuracies, dtype=np.float64)
    if accuracies.shape[-1] < 2:
        return np.full(accuracies.shape[:-1], np.nan)
    return accuracies.var(axis=-1, ddof=1)


def noise_floor(
    values: np.ndarray, clusters: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the Delta to be expected of these items if all cells were equally easy, (R,).

    Args:
        values: what each item scores in each cell, (M, C), percent (0 or 100 for an answer).
        clusters: number of the cluster of each item, (M,), from 0 to K - 1; by default each item
            is its own.
        weights: how often each cluster is counted, (R, K); by default once.

    The same items are asked in every cell, so how hard an item is moves all cells together and
    makes no Delta. What makes it is the residual d of the item-by-cell layout, what is left of a
    value when its item's mean and its cell's mean are taken out. With every item its own cluster
    the floor is the item-by-cell mean square divided by M, sum(d^2) / (M (M - 1) (C - 1)); its
    expectation is exactly that of Delta when cells do not differ. Items of one cluster may err
    together, so their residuals are summed before they are squared.
    """
    values = np.asarray(values, dtype=np.float64)
    items, cells = values.shape
    if clusters is None:
        clusters = np.arange(items)
    count = int(clusters.max()) + 1 if items else 0
    if weights is None:
        weights = np.ones((1, count))
    if cells < 2 or count < 2:
        return np.full(len(weights), np.nan)
    centred = values - values.mean(axis=1, keepdims=True)
    sums = cluster_sums(centred, clusters, count)
    sizes = np.bincount(clusters, minlength=count).astype(np.float64)
    weighted = np.asarray(weights, dtype=np.float64)
    total = weighted @ sizes
    effects = weighted @ sums / total[:, None]
    squares = (
        weighted @ (sums**2).sum(axis=1)
        - 2 * np.einsum("rc,rc->r", weighted @ (sums * sizes[:, None]), effects)
        + (weighted @ sizes**2) * (effects**2).sum(axis=1)
    )
    drawn = weighted.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(squares, 0.0) * drawn / (drawn - 1) / total**2 / (cells - 1)


def cluster_sums(values: np.ndarray, clusters: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of the rows of each cluster, (M, ...) to (K, ...)."""
    sums = np.zeros((count, *values.shape[1:]))
    np.add.at(sums, clusters, values)
    return sums


def probit_sd(counts: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return the standard deviation (ddof 1) over cells of z((count + 1/2) / (trials + 1)).

    Args:
        counts: right answers in each cell, (..., C).
        trials: questions in each cell, of a shape that broadcasts with it.

    Near a ceiling Delta must shrink; on this scale it need not.
    """
    return spread_sd(ndtri(corrected_share(np.asarray(counts, dtype=np.float64), trials)))


def spread_sd(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation (ddof 1) over cells, the last axis; NaN for a single cell."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return values.std(axis=-1, ddof=1)


def worst(accuracies: np.ndarray) -> np.ndarray:
    """Return the lowest accuracy over cells, in the unit given."""
    return np.asarray(accuracies).min(axis=-1)


def accuracy_range(accuracies: np.ndarray) -> np.ndarray:
    """Return the highest accuracy over cells minus the lowest, in the unit given."""
    return np.ptp(np.asarray(accuracies), axis=-1)
