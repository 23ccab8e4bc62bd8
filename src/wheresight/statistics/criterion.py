"""The part of Delta's change that a pure criterion shift explains.

A method that only makes a model say Yes more often raises every cell's hit rate, and near the
ceiling the cells have less room to differ: Delta falls though no cell became more like another.
Here that shift is made on the probit scale and its effect on Delta computed.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from wheresight.statistics.dispersion import delta

# A share that a float can tell from 0 and 1 has a z within +-38: a shift is less than twice that.
_FARTHEST = 80.0


def criterion_shift(shares: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the one probit constant which, added to every cell, gives the target average, (...).

    Args:
        shares: hit rate of each cell, (..., C), within 0 and 1, which are not reached.
        target: average wanted, (...), within 0 and 1.

    Solved by bisection: the average grows with the shift.
    """
    z, target = ndtri(np.asarray(shares, dtype=np.float64)), np.asarray(target, dtype=np.float64)
    low = np.full(target.shape, -_FARTHEST)
    high = np.full(target.shape, _FARTHEST)
    for _ in range(70):
        middle = (low + high) / 2
        short = ndtr(z + middle[..., None]).mean(axis=-1) < target
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return (low + high) / 2


def shifted_delta(
    shares: np.ndarray, target: np.ndarray, trials: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift to the target average, and Delta after it, percent squared.

    Args:
        shares: hit rate of each cell, (..., C).
        target: average hit rate wanted, (...).
        trials: questions per cell, (...). When given, shares are (count + 1/2) / (trials + 1)
            while they are shifted, so that 0 and 1 have a z; a shift of 0 leaves Delta as it was.
    """
    shares, target = np.asarray(shares, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if trials is None:
        shift = criterion_shift(shares, target)
        moved = ndtr(ndtri(shares) + shift[..., None])
    else:
        n = np.asarray(trials, dtype=np.float64)
        corrected = (shares * n[..., None] + 0.5) / (n[..., None] + 1)
        shift = criterion_shift(corrected, (target * n + 0.5) / (n + 1))
        moved = ndtr(ndtri(corrected) + shift[..., None])
        moved = (moved * (n[..., None] + 1) - 0.5) / n[..., None]
    return shift, delta(100 * moved)


def explained_share(
    delta_a: np.ndarray, delta_b: np.ndarray, delta_shifted: np.ndarray
) -> np.ndarray:
    """Return (delta of a - delta of a shifted) / (delta of a - delta of b); NaN for 0 / 0.

    1: the shift explains the whole change. 0: none of it. Above 1: the shift alone would have
    changed Delta by more. Below 0: it would have changed Delta the other way.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (delta_a - delta_shifted) / np.asarray(delta_a - delta_b)
    return np.where(np.isfinite(share), share, np.nan)
