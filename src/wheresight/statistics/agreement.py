"""Whether an item keeps its answer as its key image moves from cell to cell.

Answers are whole numbers that name the kinds of answer (no, yes, neither); cells are the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2


def consistent(answers: np.ndarray) -> np.ndarray:
    """Return, for each item, whether its answer is the same in all cells, (M, C) to (M,)."""
    return np.all(answers == answers[:, :1], axis=1)


def flip_share(answers: np.ndarray) -> np.ndarray:
    """Return, for each item, the share of its C (C - 1) / 2 pairs of cells that differ, (M,).

    With a single cell there is no pair, and the share is NaN.
    """
    items, cells = answers.shape
    if cells < 2:
        return np.full(items, np.nan)
    alike = np.zeros(items)
    for kind in np.unique(answers):
        times = (answers == kind).sum(axis=1)
        alike += times * (times - 1)
    return 1 - alike / (cells * (cells - 1))


def consistent_if_independent(shares: np.ndarray) -> np.ndarray:
    """Return the share of consistent items if cells were answered independently.

    Args:
        shares: share of each kind of answer in each cell, (..., C, A), summing to 1 over A.
    """
    return shares.prod(axis=-2).sum(axis=-1)


def flip_share_if_independent(shares: np.ndarray) -> np.ndarray:
    """Return the share of differing pairs of cells if cells were answered independently.

    Args:
        shares: share of each kind of answer in each cell, (..., C, A), summing to 1 over A.
    """
    cells = shares.shape[-2]
    if cells < 2:
        return np.full(shares.shape[:-2], np.nan)
    alike = shares.sum(axis=-2) ** 2 - (shares**2).sum(axis=-2)
    return 1 - alike.sum(axis=-1) / (cells * (cells - 1))


def strictly_right(right: np.ndarray) -> np.ndarray:
    """Return, for each item, whether it is right in all cells, (M, C) to (M,)."""
    return np.all(right, axis=1)


@dataclass(frozen=True)
class CochranQ:
    """Cochran's Q; statistic, degrees of freedom and p are None when no item is informative."""

    statistic: float | None
    degrees_of_freedom: int | None
    p: float | None
    informative_items: int


def cochran_q(right: np.ndarray) -> CochranQ:
    """Test that all cells have the same share of right answers, with items as blocks.

    Args:
        right: (M, C), true where the item is right in the cell.

    Q = (C - 1) (C sum G^2 - T^2) / (C T - sum L^2), with G the right answers of a cell, L those of
    an item and T those of all; p is the upper tail of chi-squared with C - 1 degrees of freedom
    (Cochran 1950). Items that are right in all cells, or wrong in all, do not change Q; when every
    item is such, or there is one cell, Q is undefined. Items are taken to be independent.
    """
    right = np.asarray(right, dtype=np.int64)
    cells = right.shape[1]
    of_item, of_cell = right.sum(axis=1), right.sum(axis=0)
    informative = int(((of_item > 0) & (of_item < cells)).sum())
    if informative == 0 or cells < 2:
        return CochranQ(None, None, None, informative)
    total = int(of_item.sum())
    above = (cells - 1) * (cells * int((of_cell**2).sum()) - total**2)
    statistic = above / (cells * total - int((of_item**2).sum()))
    return CochranQ(statistic, cells - 1, float(chi2.sf(statistic, cells - 1)), informative)
