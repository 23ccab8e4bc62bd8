"""Measures of yes and no questions, a positive being one whose right answer is Yes.

An answer that is neither is right on neither side: it is no Yes, and no right No.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wheresight.statistics.clustered import Clusters, Drawn


@dataclass(frozen=True, eq=False)
class YesNo:
    """What can be said of yes and no questions.

    Attributes:
        accuracy: share of right answers.
        sensitivity: share of positives answered Yes.
        specificity: share of negatives answered No.
        balanced_accuracy: mean of the two.
        precision: share of Yes answers that are right; NaN where nothing was answered Yes.
        f1: harmonic mean of precision and sensitivity: 2 TP / (2 TP + FP + FN).
        harmonic: harmonic mean of sensitivity and specificity. AdaptVis (arXiv 2503.01773) calls
            the two precision and recall, and this F1.
        yes_share: share of Yes among all answers.
    """

    accuracy: Drawn
    sensitivity: Drawn
    specificity: Drawn
    balanced_accuracy: Drawn
    precision: Drawn
    f1: Drawn
    harmonic: Drawn
    yes_share: Drawn


def yes_no(
    said_yes: np.ndarray, said_no: np.ndarray, positive: np.ndarray, clusters: Clusters
) -> YesNo:
    """Measure answers to yes and no questions.

    Args:
        said_yes, said_no: (Q,) bool; both false where it is neither.
        positive: (Q,) bool, whether Yes is right.
        clusters: the questions' clusters.
    """
    yes, no, real = (np.asarray(given, dtype=bool) for given in (said_yes, said_no, positive))
    if np.any(yes & no):
        raise ValueError("an answer cannot be both Yes and No")
    counted = np.stack([yes & real, no & ~real, yes & ~real, real, ~real, yes], axis=-1)

    def measured(sums: np.ndarray) -> np.ndarray:
        hits, rejections, alarms, positives, negatives, said = np.moveaxis(sums, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            sensitivity, specificity = hits / positives, rejections / negatives
            both = sensitivity + specificity
            harmonic = np.where(both > 0, 2 * sensitivity * specificity / both, both)
            total = positives + negatives
            return np.stack(
                [
                    (hits + rejections) / total,
                    sensitivity,
                    specificity,
                    both / 2,
                    hits / said,
                    # 2 TP + FP + FN = (all Yes) + (all positives).
                    2 * hits / (alarms + hits + positives),
                    harmonic,
                    said / total,
                ],
                axis=-1,
            )

    found = clusters.of_sums(counted, measured)
    return YesNo(*(found.at(n) for n in range(8)))
