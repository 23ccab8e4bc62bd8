"""The Pareto front: points that no other point beats, and which of that the intervals settle.

Legend: P points, A axes; more is better on every axis.
"""

from __future__ import annotations

import numpy as np


def dominates(points: np.ndarray) -> np.ndarray:
    """Return which point dominates which, (P, P): [p, q] is true where p dominates q.

    Args:
        points: (P, A), finite.

    p dominates q if p_a >= q_a on every axis a and p_a > q_a on at least one. Points that are equal
    on every axis do not dominate each other.
    """
    points = np.asarray(points, dtype=np.float64)
    mine, theirs = points[:, None], points[None]
    found: np.ndarray = np.all(mine >= theirs, axis=-1) & np.any(mine > theirs, axis=-1)
    return found


def front(points: np.ndarray) -> np.ndarray:
    """Return which points no other point dominates, (P,) bool.

    Args:
        points: (P, A), finite.
    """
    found: np.ndarray = ~np.any(dominates(points), axis=0)
    return found


def settled(points: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return for which points the intervals leave no doubt about the front, (P,) bool.

    Args:
        points: (P, A), finite.
        low: (P, P, A), the lower end of the interval of points[p] - points[q] on each axis; NaN
            where there is none.

    With B_pqa true where low_pqa > 0, that is, p is better than q on axis a by more than chance:

    - q is surely off the front if some p has B_pqa on every axis a;
    - p is surely on the front if for every q other than p there is an axis a with B_pqa.

    Each interval holds for one difference at a time; nothing is corrected for their number.
    """
    better = np.asarray(low) > 0
    surely_off = better.all(axis=-1).any(axis=0)
    stands = better.any(axis=-1) | np.eye(len(better), dtype=bool)
    found: np.ndarray = np.where(front(points), stands.all(axis=1), surely_off)
    return found
