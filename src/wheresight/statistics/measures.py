"""All measures of a grid at once, for any weighting of the items: the map from answers to numbers.

The names of the measures are those of the fields of results.json; a dot goes down one level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wheresight.statistics import agreement, dispersion
from wheresight.statistics import signal_detection as sdt

NO, YES, NEITHER = 0, 1, 2


@dataclass(frozen=True, eq=False)
class QuestionAnswers:
    """The answers to one question of every item in every cell.

    Args:
        answers: NO, YES or NEITHER, (M, C) int8.
        margins: logsumexp of Yes minus logsumexp of No, nats, (M, C).
        asked: whether the item asks this question at all, (M,); elsewhere the rest is not read.
    """

    answers: np.ndarray
    margins: np.ndarray
    asked: np.ndarray


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures under R weightings: of each cell (R, C), of the grid (R,), and the items (R,)."""

    cells: dict[str, np.ndarray]
    overall: dict[str, np.ndarray]
    items: np.ndarray


class GridAnswers:
    """The answers of one intervention, made ready to be measured under many weightings.

    Args:
        positive: the question whose right answer is Yes; every item asks it.
        negatives: the questions whose right answer is No, by kind; may be empty.
        clusters: number of the cluster of each item, (M,), from 0 to K - 1, none empty.
    """

    def __init__(
        self,
        positive: QuestionAnswers,
        negatives: Mapping[str, QuestionAnswers],
        clusters: np.ndarray,
    ) -> None:
        self.positive = positive
        self.negatives = dict(negatives)
        self.clusters = np.asarray(clusters)
        self.items, self.cells = positive.answers.shape
        self.cluster_count = int(self.clusters.max()) + 1
        self._sums = {name: self._count(q) for name, q in self._questions().items()}
        self._item_sums = self._sum(self._item_flags())
        self._singletons = bool(np.array_equal(self.clusters, np.arange(self.items)))
        self._rankings = {
            kind: [
                sdt.MarginRanking(positive.margins[:, cell], q.margins[q.asked, cell])
                for cell in range(self.cells)
            ]
            for kind, q in self.negatives.items()
        }
        self._hit_values = 100.0 * (positive.answers == YES)
        self._balanced_values = self._linear_balanced_values() if self.negatives else None

    def _questions(self) -> dict[str, QuestionAnswers]:
        return {"positive": self.positive, **self.negatives}

    def right(self, question: str) -> np.ndarray:
        """Whether each asked item is right in each cell: Yes on the positive, else No, (M', C)."""
        asked = self._questions()[question]
        return asked.answers[asked.asked] == (YES if question == "positive" else NO)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return dispersion.cluster_sums(
            np.asarray(values, np.float64), self.clusters, self.cluster_count
        )

    def _count(self, q: QuestionAnswers) -> dict[str, np.ndarray]:
        """Sums over each cluster of what all weighted rates are made of, (K, C) each."""
        asked = q.asked[:, None]
        counted = {
            "trials": np.broadcast_to(asked, q.answers.shape),
            "yes": (q.answers == YES) & asked,
            "no": (q.answers == NO) & asked,
            "neither": (q.answers == NEITHER) & asked,
            "above": np.where(asked, q.margins > 0, False),
            "tied": np.where(asked, q.margins == 0, False),
            "margin": np.where(asked, q.margins, 0.0),
        }
        return {name: self._sum(values) for name, values in counted.items()}

    def _item_flags(self) -> np.ndarray:
        positive = self.positive.answers
        strict = agreement.strictly_right(positive == YES)
        everywhere = strict.copy()
        for q in self.negatives.values():
            everywhere &= agreement.strictly_right(q.answers == NO) | ~q.asked
        flags = [agreement.consistent(positive), agreement.flip_share(positive), strict, everywhere]
        return np.stack([np.asarray(flag, np.float64) for flag in flags], axis=1)

    def _linear_balanced_values(self) -> np.ndarray:
        """What each item adds to each cell's balanced accuracy, (M, C), percent.

        Where items ask different numbers of negatives, the correct-rejection rate is a ratio; an
        item's part in it is taken to first order, and the mean over items stays exact.
        """
        right = np.zeros((self.items, self.cells))
        trials = np.zeros((self.items, 1))
        for q in self.negatives.values():
            right += (q.answers == NO) & q.asked[:, None]
            trials += q.asked[:, None]
        rate = right.sum(axis=0) / trials.sum()
        rejected = rate + (right - trials * rate) * (self.items / trials.sum())
        return (self._hit_values + 100.0 * rejected) / 2

    def measure(self, weights: np.ndarray | None = None) -> Measures:
        """Return all measures under each weighting.

        Args:
            weights: how often each cluster is counted, (R, K); by default each once, R = 1.

        Measures that these answers do not define are NaN.
        """
        if weights is None:
            weights = np.ones((1, self.cluster_count))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._measure(weights)

    def _measure(self, weights: np.ndarray) -> Measures:
        exact = np.asarray(weights, np.float64)
        counts = {
            question: {name: exact @ sums for name, sums in parts.items()}
            for question, parts in self._sums.items()
        }
        positive = counts["positive"]
        cells, pooled = self._rates(counts)
        aucs = self._aucs(weights)
        cells |= {f"auc_by_kind.{kind}": values for kind, values in aucs.items()}
        # Of all pairs of a positive and a negative, each kind has the part it has of the negatives.
        parts = [np.nan_to_num(aucs[kind]) * counts[kind]["trials"] for kind in aucs]
        cells["auc"] = np.sum(parts, axis=0) / pooled["trials"]

        overall = {name: values.mean(axis=1) for name, values in cells.items()}
        overall |= self._spread("spread", self._hit_values, positive, cells["hit_rate"], exact)
        if self._balanced_values is not None:
            both = {"trials": positive["trials"] + pooled["trials"]}
            both["yes"] = cells["balanced_accuracy"] * both["trials"]
            rate = cells["balanced_accuracy"]
            overall |= self._spread("balanced_spread", self._balanced_values, both, rate, exact)
        overall["d_prime_sd"] = dispersion.spread_sd(cells["d_prime"])
        overall["criterion_sd"] = dispersion.spread_sd(cells["criterion"])
        overall |= self._agreement(positive, exact)
        return Measures(cells, overall, positive["trials"][:, 0])

    def _rates(
        self, counts: dict[str, dict[str, np.ndarray]]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Rates of each cell, and the counts of all negatives together."""
        p = counts["positive"]
        nothing = {name: np.zeros_like(values) for name, values in p.items()}
        n = {
            name: sum((counts[kind][name] for kind in self.negatives), start=nothing[name])
            for name in p
        }
        hit, false_alarm = sdt.corrected_rates(p["yes"], p["trials"], n["yes"], n["trials"])
        hit_rate, rejection = p["yes"] / p["trials"], n["no"] / n["trials"]
        above = (p["above"] + p["tied"] / 2) / p["trials"]
        below = 1 - (n["above"] + n["tied"] / 2) / n["trials"]
        cells = {
            "hit_rate": hit_rate,
            "false_alarm_rate": n["yes"] / n["trials"],
            "correct_rejection_rate": rejection,
            "balanced_accuracy": sdt.balanced_accuracy(hit_rate, rejection),
            "d_prime": np.where(n["trials"] > 0, sdt.d_prime(hit, false_alarm), np.nan),
            "criterion": np.where(n["trials"] > 0, sdt.criterion(hit, false_alarm), np.nan),
            "neither_rate_positive": p["neither"] / p["trials"],
            "neither_rate_negative": n["neither"] / n["trials"],
            "margin_hit_rate": p["above"] / p["trials"],
            "margin_false_alarm_rate": n["above"] / n["trials"],
            "margin_balanced_accuracy": sdt.balanced_accuracy(above, below),
            "mean_margin_positive": p["margin"] / p["trials"],
            "mean_margin_negative": n["margin"] / n["trials"],
        }
        for kind in self.negatives:
            k = counts[kind]
            cells[f"false_alarm_rate_by_kind.{kind}"] = k["yes"] / k["trials"]
        return cells, n

    def _aucs(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """AUC of each cell against each kind of negative, (R, C)."""
        by_item = weights.T if self._singletons else weights.T[self.clusters]
        by_item = np.ascontiguousarray(by_item)
        aucs = {}
        for kind, rankings in self._rankings.items():
            asked = self.negatives[kind].asked
            of_negatives = by_item if asked.all() else by_item[asked]
            columns = [ranking.auc(by_item, of_negatives) for ranking in rankings]
            aucs[kind] = np.stack(columns, axis=1)
        return aucs

    def _spread(
        self,
        name: str,
        values: np.ndarray,
        counts: dict[str, np.ndarray],
        rate: np.ndarray,
        weights: np.ndarray,
    ) -> dict[str, np.ndarray]:
        percent = 100.0 * rate
        delta = dispersion.delta(percent)
        floor = dispersion.noise_floor(values, self.clusters, weights)
        return {
            f"{name}.average": percent.mean(axis=1),
            f"{name}.delta": delta,
            f"{name}.noise_floor": floor,
            f"{name}.delta_debiased": delta - floor,
            f"{name}.probit_sd": dispersion.probit_sd(counts["yes"], counts["trials"]),
            f"{name}.worst": dispersion.worst(percent),
            f"{name}.range": dispersion.accuracy_range(percent),
        }

    def _agreement(
        self, positive: dict[str, np.ndarray], weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        kinds = [positive[kind] / positive["trials"] for kind in ("no", "yes", "neither")]
        shares = np.stack(kinds, axis=-1)
        flags = weights @ self._item_sums / positive["trials"][:, :1]
        return {
            "agreement.consistent_rate": flags[:, 0],
            "agreement.consistent_rate_if_independent": agreement.consistent_if_independent(shares),
            "agreement.flip_rate": flags[:, 1],
            "agreement.flip_rate_if_independent": agreement.flip_share_if_independent(shares),
            "agreement.strict_accuracy_positive": flags[:, 2],
            "agreement.strict_accuracy": (
                flags[:, 3] if self.negatives else np.full(len(flags), np.nan)
            ),
        }
