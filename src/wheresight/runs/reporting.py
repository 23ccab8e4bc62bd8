"""Measures and their replicates as the models of results.json, with what must be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wheresight.runs import results as schema
from wheresight.runs.complete_items import CompleteItems
from wheresight.runs.results import Estimate
from wheresight.statistics import criterion
from wheresight.statistics.agreement import cochran_q
from wheresight.statistics.bootstrap import exact_at_the_ends, interval
from wheresight.statistics.measures import NEITHER, GridAnswers, Measures
from wheresight.statistics.paired import holm, mcnemar

# Measures that are shares of trials, so that 0 and 1 have an exact limit; the factor is their unit.
_SHARES = {
    "hit_rate": 1.0,
    "false_alarm_rate": 1.0,
    "false_alarm_rate_by_kind": 1.0,
    "correct_rejection_rate": 1.0,
    "balanced_accuracy": 1.0,
    "neither_rate_positive": 1.0,
    "neither_rate_negative": 1.0,
    "margin_hit_rate": 1.0,
    "margin_false_alarm_rate": 1.0,
    "margin_balanced_accuracy": 1.0,
    "agreement.consistent_rate": 1.0,
    "agreement.flip_rate": 1.0,
    "agreement.strict_accuracy_positive": 1.0,
    "agreement.strict_accuracy": 1.0,
    "spread.average": 100.0,
    "spread.worst": 100.0,
    "balanced_spread.average": 100.0,
    "balanced_spread.worst": 100.0,
}
_SIGNED = (
    "d_prime",
    "criterion",
    "mean_margin_positive",
    "mean_margin_negative",
    "spread.delta_debiased",
    "balanced_spread.delta_debiased",
)
_NEED_NEGATIVES = (
    "false_alarm_rate",
    "correct_rejection_rate",
    "balanced_accuracy",
    "d_prime",
    "criterion",
    "auc",
    "neither_rate_negative",
    "margin_false_alarm_rate",
    "margin_balanced_accuracy",
    "mean_margin_negative",
    "d_prime_sd",
    "criterion_sd",
    "agreement.strict_accuracy",
)


class Reporter:
    """Turns measures and their replicates into the models of results.json.

    `first` are warnings that go before those of every intervention.
    """

    def __init__(
        self, data: CompleteItems, answers: GridAnswers, level: float, first: Sequence[str] = ()
    ) -> None:
        self.data = data
        self.level = level
        self.first = first
        self.cells = data.counts.cells
        self.clusters = {"": data.counts.clusters}
        for kind, negative in answers.negatives.items():
            self.clusters[kind] = len(np.unique(data.clusters[negative.asked]))

    def _reason(self, name: str) -> str:
        """Why a measure has no value or no interval; only asked when it has none."""
        if len(self.data.questions) == 1 and name in _NEED_NEGATIVES:
            return "The run asked no negatives (protocol paper)."
        if self.clusters[""] < 2:
            return "There is only one key image, so nothing can be said of others."
        if self.cells < 2:
            return "There is only one cell."
        return "It is undefined for these answers."

    def _numbers(
        self,
        observed: Mapping[str, np.ndarray],
        drawn: Mapping[str, np.ndarray],
        difference: bool = False,
    ) -> list[dict[str, Any]]:
        """Estimates by name, nested at the dots: one dictionary for each cell, or one in all."""
        nested: list[dict[str, Any]] = []
        for name, value in observed.items():
            values = value.ravel()
            replicates = drawn[name].reshape(len(drawn[name]), -1)
            top, _, kind = name.partition(".")
            unit = _SHARES.get(name, _SHARES.get(top))
            bounds = (-np.inf, np.inf) if difference else _bounds(name, unit)
            low, high = interval(values, replicates, self.level, bounds)
            if unit is not None and not difference:
                trials = self.clusters.get(kind, self.clusters[""])
                ends = exact_at_the_ends(values / unit, low / unit, high / unit, trials, self.level)
                low, high = ends[0] * unit, ends[1] * unit
            if self.clusters[""] < 2:
                low, high = np.full(low.shape, np.nan), np.full(high.shape, np.nan)
            nested = nested or [_empty() for _ in values]
            for place, numbers in zip(nested, zip(values, low, high, strict=True), strict=True):
                estimate = Estimate.of(*numbers, reason=self._reason(name))
                if kind:
                    place.setdefault(top, {})[kind] = estimate
                else:
                    place[top] = estimate
        return nested

    def intervention(
        self,
        name: str,
        answers: GridAnswers,
        observed: Measures,
        drawn: Measures,
        shape: tuple[int, int] | None,
    ) -> schema.InterventionResult:
        """All numbers of one intervention."""
        of_cells = self._numbers(observed.cells, drawn.cells)
        of_grid = _NO_BALANCED | self._numbers(observed.overall, drawn.overall)[0]
        q = cochran_q(answers.right("positive"))
        balanced = observed.cells["balanced_accuracy"][0]
        overall = schema.OverallResult(
            **of_grid,
            worst_cell=int(observed.cells["hit_rate"][0].argmin()),
            balanced_worst_cell=int(balanced.argmin()) if answers.negatives else None,
            cochran_q=schema.CochranQ(
                statistic=q.statistic,
                degrees_of_freedom=q.degrees_of_freedom,
                p=q.p,
                informative_items=q.informative_items,
                reason=None
                if q.statistic is not None
                else "Every item is right in all cells or wrong in all."
                if self.cells > 1
                else "There is only one cell.",
            ),
        )
        cells = [
            schema.CellResult(
                **numbers,
                cell=cell,
                row=cell // shape[1] if shape else None,
                column=cell % shape[1] if shape else None,
                items=answers.items,
            )
            for cell, numbers in enumerate(of_cells)
        ]
        return schema.InterventionResult(
            intervention=name,
            cells=cells,
            overall=overall,
            warnings=[*self.first, *_warnings(answers, overall)],
        )

    def comparison(
        self,
        names: tuple[str, str],
        answers: tuple[GridAnswers, GridAnswers],
        observed: tuple[Measures, Measures],
        drawn: tuple[Measures, Measures],
    ) -> schema.Comparison:
        """Paired differences b - a, with their tests."""
        of_cells = self._numbers(
            _minus(observed[1].cells, observed[0].cells),
            _minus(drawn[1].cells, drawn[0].cells),
            difference=True,
        )
        of_grid = self._numbers(
            _minus(observed[1].overall, observed[0].overall),
            _minus(drawn[1].overall, drawn[0].overall),
            difference=True,
        )[0]
        return schema.Comparison(
            a=names[0],
            b=names[1],
            cells=[
                schema.CellComparison(**numbers, cell=cell) for cell, numbers in enumerate(of_cells)
            ],
            overall=schema.OverallNumbers(**(_NO_BALANCED | of_grid)),
            mcnemar=self._mcnemar(*answers),
            criterion_shift=self._criterion(observed, drawn),
        )

    def _mcnemar(self, a: GridAnswers, b: GridAnswers) -> list[schema.McNemar]:
        tests = []
        for number, question in enumerate(self.data.questions):
            name = "positive" if number == 0 else question
            right_a, right_b = a.right(name), b.right(name)
            clusters = self.data.clusters[self.data.asked[number]]
            for cell in range(self.cells):
                test = mcnemar(right_a[:, cell], right_b[:, cell], clusters)
                tests.append((question, cell, len(clusters), test))
        corrected = holm(np.array([test.p for *_, test in tests]))
        return [
            schema.McNemar(
                question=question,
                cell=cell,
                items=items,
                only_a_right=test.only_a_right,
                only_b_right=test.only_b_right,
                method=test.method,
                p=test.p,
                p_holm=float(p),
            )
            for (question, cell, items, test), p in zip(tests, corrected, strict=True)
        ]

    def _criterion(
        self, observed: tuple[Measures, Measures], drawn: tuple[Measures, Measures]
    ) -> schema.CriterionShift:
        def parts(a: Measures, b: Measures) -> tuple[np.ndarray, ...]:
            target = b.cells["hit_rate"].mean(axis=1)
            shift, moved = criterion.shifted_delta(a.cells["hit_rate"], target, a.items)
            delta_a, delta_b = a.overall["spread.delta"], b.overall["spread.delta"]
            share = criterion.explained_share(delta_a, delta_b, moved)
            return shift, moved, share, delta_a - delta_b

        estimates, replicates = parts(*observed), parts(*drawn)
        ends = [
            interval(value[0], replicate, self.level, bounds)
            for value, replicate, bounds in zip(
                estimates,
                replicates,
                [(-np.inf, np.inf), (0.0, np.inf), (-np.inf, np.inf), (-np.inf, np.inf)],
                strict=True,
            )
        ]
        reason = self._reason("spread")
        shift, moved, share = (
            Estimate.of(float(value[0]), float(low), float(high), reason)
            if self.clusters[""] > 1
            else Estimate.of(float(value[0]), np.nan, np.nan, reason)
            for value, (low, high) in zip(estimates[:3], ends[:3], strict=True)
        )
        if not (ends[3][0] > 0 or ends[3][1] < 0):
            share = Estimate.undefined(
                "Delta did not change by more than chance: the interval of its change contains 0."
            )
        return schema.CriterionShift(shift=shift, delta_shifted=moved, share=share)


_NO_BALANCED: dict[str, Any] = {"balanced_spread": None}


def _bounds(name: str, unit: float | None) -> tuple[float, float]:
    """The least and greatest value that a measure can have."""
    if name in _SIGNED:
        return -np.inf, np.inf
    if unit is None and name.partition(".")[0] in ("auc", "auc_by_kind"):
        unit = 1.0
    return 0.0, unit or np.inf


def _empty() -> dict[str, Any]:
    return {"false_alarm_rate_by_kind": {}, "auc_by_kind": {}}


def _minus(b: Mapping[str, np.ndarray], a: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: b[name] - a[name] for name in b}


def _warnings(answers: GridAnswers, overall: schema.OverallResult) -> list[str]:
    """What a reader of one intervention's numbers must be told."""
    told = []
    asked = [answers.positive, *answers.negatives.values()]
    given = np.concatenate([q.answers[q.asked].ravel() for q in asked])
    shares = np.bincount(given, minlength=3) / len(given)
    if not answers.negatives:
        told.append(
            "Only positives were asked: a model that always says Yes would score 100 % with "
            "Delta 0. Use the balanced protocol to tell robustness from a lean to Yes."
        )
    elif shares.max() >= 0.99:
        word = ("No", "Yes", "neither Yes nor No")[int(shares.argmax())]
        told.append(
            f"It answers {word} to {shares.max():.1%} of all questions, right or wrong: its Delta "
            "and consistency say nothing about robustness."
        )
    low, high = overall.auc.low, overall.auc.high
    if low is not None and high is not None and low <= 0.5 <= high:
        told.append(
            "Its margins do not tell positives from negatives (the interval of the AUC contains "
            "0.5): a small Delta is no sign of robustness."
        )
    if shares[NEITHER] >= 0.05:
        told.append(
            f"{shares[NEITHER]:.1%} of its answers are neither Yes nor No. They count as wrong, on "
            "positives and on negatives; the margins compare Yes with No all the same."
        )
    return told
