"""Signal detection: how well Yes tells positives from negatives, apart from a lean to Yes.

Sensitivity and criterion are those of the equal-variance normal model (Green and Swets 1966); the
area under the curve is the Mann-Whitney statistic of the margins. Every function is elementwise
over its leading axes, so cells and bootstrap replicates are computed at once.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def corrected_share(count: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return (count + 1/2) / (trials + 1), which is never 0 or 1, so that its z is finite."""
    return (count + 0.5) / (trials + 1.0)


def corrected_rates(
    hits: np.ndarray, positives: np.ndarray, false_alarms: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-linear corrected hit and false-alarm rates.

    One Yes and one No are added in all, each shared between positives and negatives in proportion
    to their number. With as many positives as negatives this is the familiar
    (count + 1/2) / (trials + 1) (Hautus 1995). With unequal numbers that rule would give a constant
    answer two rates and so a d' other than 0; this one gives it exactly 0.
    """
    total = positives + negatives
    extra = 2.0 * positives / total, 2.0 * negatives / total
    return (
        (hits + extra[0] / 2) / (positives + extra[0]),
        (false_alarms + extra[1] / 2) / (negatives + extra[1]),
    )


def d_prime(hit_rate: np.ndarray, false_alarm_rate: np.ndarray) -> np.ndarray:
    """Return z(hit rate) - z(false-alarm rate); give it corrected rates."""
    return ndtri(hit_rate) - ndtri(false_alarm_rate)


def criterion(hit_rate: np.ndarray, false_alarm_rate: np.ndarray) -> np.ndarray:
    """Return -(z(hit rate) + z(false-alarm rate)) / 2; below 0 leans to Yes."""
    return -(ndtri(hit_rate) + ndtri(false_alarm_rate)) / 2


def balanced_accuracy(hit_rate: np.ndarray, correct_rejection_rate: np.ndarray) -> np.ndarray:
    """Return the mean of the two shares of right answers.

    The correct-rejection rate is the share of negatives answered No. It is not 1 minus the
    false-alarm rate when some answers are neither Yes nor No: those are right on neither side.
    """
    return (hit_rate + correct_rejection_rate) / 2


class MarginRanking:
    """The margins of one cell, ranked once, for the AUC under many weightings of the items.

    Args:
        positive: margins of the positives, (P,).
        negative: margins of the negatives, (N,).
    """

    def __init__(self, positive: np.ndarray, negative: np.ndarray) -> None:
        self._positive = np.argsort(positive, kind="stable")
        self._negative = np.argsort(negative, kind="stable")
        ranked = negative[self._negative]
        self._below = np.searchsorted(ranked, positive[self._positive], side="left")
        self._not_above = np.searchsorted(ranked, positive[self._positive], side="right")
        self._ties = bool(np.any(self._below != self._not_above))

    def auc(self, positive_weights: np.ndarray, negative_weights: np.ndarray) -> np.ndarray:
        """Return the weighted chance that a positive exceeds a negative, ties half, (R,).

        Args:
            positive_weights: (P, R), R weightings; replicates last, so that rows are contiguous.
            negative_weights: (N, R).

        A weighting that leaves out all positives or all negatives gives NaN.
        """
        ranked = negative_weights[self._negative]
        cumulative = np.zeros((len(ranked) + 1, ranked.shape[1]), ranked.dtype)
        np.cumsum(ranked, axis=0, out=cumulative[1:])
        beaten = cumulative[self._below]
        if self._ties:
            beaten = (beaten + cumulative[self._not_above]) / 2
        weights = positive_weights[self._positive]
        wins = np.einsum("pr,pr->r", weights, beaten).astype(np.float64)
        pairs = positive_weights.sum(axis=0, dtype=np.float64) * cumulative[-1].astype(np.float64)
        return np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0)


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the area under the ROC curve of the margins: Mann-Whitney's U / (P N), ties half.

    Args:
        positive: margins of the positives, (P,).
        negative: margins of the negatives, (N,).
    """
    positive, negative = np.asarray(positive), np.asarray(negative)
    ranking = MarginRanking(positive, negative)
    return float(ranking.auc(np.ones((len(positive), 1)), np.ones((len(negative), 1)))[0])
