"""The numbers of an evaluation, from its records.

For each benchmark its baselines, and for each intervention each reader's accuracy with its interval
and what else can be said (`scored.Scored`), and the paired difference from the first intervention.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from wheresight.probes.agreement import Agreement, Part, agreement
from wheresight.probes.evaluate import Evaluated
from wheresight.probes.scored import Draw, Scored, baselines, readers, score
from wheresight.runs.evaluation_results import (
    Baselines,
    BenchmarkResult,
    ControlAgreement,
    InterventionAnswers,
    ReaderResult,
    TogetherResult,
    YesNoResult,
)
from wheresight.runs.results import Estimate
from wheresight.statistics.choices import share_numbers
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.sets import SetAccuracy
from wheresight.statistics.yes_no import YesNo
from wheresight.stimuli.benchmarks import without_control

_SHARE = (0.0, 1.0)
_NO_SUCH = "There are no such questions, or this reader does not say what was picked."
_FEW = "It has no interval: fewer than two source pictures, or nothing that varies."


def summarise(
    records: Sequence[Evaluated],
    interventions: Sequence[str],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> list[BenchmarkResult]:
    """Score all records; one entry a benchmark, in the records' order.

    Args:
        records: of any number of benchmarks under any of the interventions; those under the control
            `blank` are the blind baseline of their benchmark.
        interventions: the first is the reference of the differences.
        replicates, seed: of the bootstrap.
    """
    draw = functools.partial(Clusters, replicates=replicates, seed=seed)
    seen: dict[str, dict[str, list[Evaluated]]] = {}
    blank: dict[str, list[Evaluated]] = {}
    for record in records:
        if record["control"] == "blank":
            blank.setdefault(record["benchmark"], []).append(record)
        else:
            own = seen.setdefault(record["benchmark"], {})
            own.setdefault(record["intervention"], []).append(record)
    found = []
    for name, own in seen.items():
        plain, control = without_control(name)
        beside = seen.get(plain, {}) if control else {}
        entry = _Benchmark(name, own, interventions, draw, beside)
        found.append(entry.result(control, plain if beside else None, blank.get(name, [])))
    return found


class _Benchmark:
    """One benchmark's records under each intervention, and those without its control."""

    def __init__(
        self,
        name: str,
        own: Mapping[str, list[Evaluated]],
        interventions: Sequence[str],
        draw: Draw,
        plain: Mapping[str, list[Evaluated]],
    ) -> None:
        self._name, self._own, self._plain = name, own, plain
        self._draw = draw
        self._specs = [spec for spec in interventions if spec in own]
        self._reference = own[self._specs[0]]
        self._readers = readers(self._reference)

    def result(
        self, control: str | None, plain: str | None, blank: Sequence[Evaluated]
    ) -> BenchmarkResult:
        base, reference = baselines(self._reference), self._reference
        return BenchmarkResult(
            benchmark=self._name,
            control=control,
            plain=plain,
            questions=len(reference),
            pictures=len({record["cluster"] for record in reference}),
            category_questions=dict(sorted(Counter(r["category"] for r in reference).items())),
            baselines=Baselines(
                chance=base.chance,
                majority=base.majority,
                majority_by_category=base.majority_by_category,
                present=base.present,
                blind=[_scored(self._score(blank, reader)) for reader in self._readers]
                if blank
                else None,
                blind_under=blank[0]["intervention"] if blank else None,
            ),
            interventions=self._interventions(),
        )

    def _interventions(self) -> list[InterventionAnswers]:
        first = {reader: self._score(self._reference, reader) for reader in self._readers}
        found = []
        for spec in self._specs:
            entries = []
            for reader, of_first in first.items():
                beside = self._agreement(spec, reader)
                if spec == self._specs[0]:
                    entries.append(_scored(of_first, beside=beside))
                    continue
                scored = self._score(self._own[spec], reader)
                difference = estimate(scored.accuracy - of_first.accuracy, (-1.0, 1.0))
                entries.append(_scored(scored, difference, beside))
            found.append(InterventionAnswers(intervention=spec, readers=entries))
        return found

    def _score(self, records: Sequence[Evaluated], reader: str) -> Scored:
        return score(records, reader, self._draw)

    def _agreement(self, spec: str, reader: str) -> ControlAgreement | None:
        if spec not in self._plain or reader not in readers(self._plain[spec]):
            return None
        found = agreement(self._plain[spec], self._own[spec], reader, self._draw)
        return None if found is None else _agreement(found)


def _scored(
    scored: Scored,
    minus_first: Estimate | None = None,
    beside: ControlAgreement | None = None,
) -> ReaderResult:
    return ReaderResult(
        reader=scored.reader,
        unread=scored.unread if math.isfinite(scored.unread) else None,
        accuracy=share(scored.accuracy, scored.clusters),
        macro_accuracy=estimate(scored.macro, _SHARE),
        chance_corrected=estimate(scored.corrected, (-math.inf, 1.0)),
        categories={name: estimate(drawn, _SHARE) for name, drawn in scored.categories.items()},
        sets=_together(scored.sets, scored.published_sets),
        pairs=_together(scored.pairs, scored.published_pairs),
        yes_no=_yes_no(scored.yes_no),
        minus_first=minus_first,
        agreement=beside,
    )


def _together(found: SetAccuracy | None, published: float | None) -> TogetherResult | None:
    if found is None:
        return None
    none = "Not one was asked whole." if not found.complete else _FEW
    return TogetherResult(
        **share(found.share, found.clusters, none).model_dump(),
        complete=found.complete,
        incomplete=found.incomplete,
        published_share=published,
    )


def _yes_no(found: YesNo | None) -> YesNoResult | None:
    if found is None:
        return None
    named = {name: getattr(found, name) for name in YesNo.__dataclass_fields__}
    none = "Nothing to divide by: no such question, or no such answer."
    return YesNoResult(**{name: estimate(drawn, _SHARE, none) for name, drawn in named.items()})


def _agreement(found: Agreement) -> ControlAgreement:
    counts = ("questions", "answer_changes", "answer_stays", "options_move")
    numbers: dict[str, Any] = {
        name: share(part.share, part.clusters, _NO_SUCH)
        for name in Agreement.__dataclass_fields__
        if isinstance(part := getattr(found, name), Part)
    }
    numbers |= {name: getattr(found, name) for name in counts}
    return ControlAgreement(pictures=found.clusters, **numbers)


def share(drawn: Drawn, clusters: int, undefined: str = "Nothing to count.") -> Estimate:
    """A share of answers; exact binomial limits where it is 0 or 1.

    Args:
        drawn: the share.
        clusters: source pictures that have a part in it.
        undefined: why it is null, where it is.
    """
    return _estimate(share_numbers(drawn, clusters), undefined)


def estimate(
    drawn: Drawn, bounds: tuple[float, float], undefined: str = "Nothing to count."
) -> Estimate:
    """A number that lies within bounds; `undefined` says why it is null, where it is."""
    return _estimate(drawn.numbers(bounds), undefined)


def _estimate(numbers: Mapping[str, float], undefined: str) -> Estimate:
    reason = _FEW if math.isfinite(numbers["value"]) else undefined
    return Estimate.of(numbers["value"], numbers["low"], numbers["high"], reason)
