"""How many questions were answered right, by category and against those who do not look.

Legend: Q questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wheresight.statistics.bootstrap import exact_at_the_ends
from wheresight.statistics.clustered import Clusters, Drawn


def by_category(
    right: np.ndarray, categories: Sequence[str], clusters: Clusters
) -> dict[str, Drawn]:
    """Accuracy within each category, in the order of their names.

    Args:
        right: (Q,) bool.
        categories: of each question.
        clusters: the questions' clusters.
    """
    kinds = np.asarray(categories)
    return {
        name: clusters.mean(np.where(kinds == name, np.asarray(right, np.float64), np.nan))
        for name in sorted(set(categories))
    }


def macro_accuracy(right: np.ndarray, categories: Sequence[str], clusters: Clusters) -> Drawn:
    """Mean of the categories' accuracies, so that a frequent category counts no more than a rare
    one. A replicate from which a category is missing takes the mean of those it has.
    """
    kinds = np.asarray(categories)
    inside = kinds[:, None] == np.array(sorted(set(categories)))  # (Q, C)
    pair = np.stack([inside * np.asarray(right, np.float64)[:, None], inside], axis=-1)

    def mean(sums: np.ndarray) -> np.ndarray:
        shares = np.divide(
            sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] > 0
        )
        found: np.ndarray = np.nanmean(shares, axis=-1)
        return found

    return clusters.of_sums(pair, mean)


def chance_corrected(right: np.ndarray, chance: np.ndarray, clusters: Clusters) -> Drawn:
    """(accuracy - chance) / (1 - chance): 0 for guessing, 1 for all right, below 0 for worse.

    Args:
        right: (Q,) bool.
        chance: (Q,), the accuracy of guessing on each question, below 1; both means are over all
            questions.
        clusters: the questions' clusters.
    """
    above = np.stack([np.asarray(right, np.float64) - chance, 1 - np.asarray(chance)], axis=-1)
    return clusters.of_sums(above, lambda sums: sums[..., 0] / sums[..., 1])


def majority(answers: Sequence[str], categories: Sequence[str] | None = None) -> np.ndarray:
    """Which questions the constant answer gets right, (Q,) bool.

    The constant is the most frequent right answer of all, or of each category; the first in the
    order of the alphabet where two are as frequent. It has seen the right answers, so no constant
    does better.
    """
    kinds = [""] * len(answers) if categories is None else list(categories)
    counts: dict[str, Counter[str]] = {}
    for answer, kind in zip(answers, kinds, strict=True):
        counts.setdefault(kind, Counter())[answer] += 1
    constant = {
        kind: min(count, key=lambda word: (-count[word], word)) for kind, count in counts.items()
    }
    return np.array(
        [answer == constant[kind] for answer, kind in zip(answers, kinds, strict=True)], dtype=bool
    )


def share_numbers(share: Drawn, trials: int) -> dict[str, float]:
    """`value`, `low` and `high` of a share; exact binomial limits where it is 0 or 1.

    Args:
        share: a share of right answers.
        trials: independent trials behind it: the clusters that have a part in it.
    """
    low, high = share.interval((0.0, 1.0))
    if trials > 0:
        low, high = exact_at_the_ends(share.value, low, high, trials, share.level)
    return {"value": float(share.value), "low": float(low), "high": float(high)}
