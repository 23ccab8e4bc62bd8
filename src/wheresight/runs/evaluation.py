"""The numbers of an evaluation, from its records: a tree of JSON values.

For each benchmark: `baselines`, and for each intervention each reader's accuracy with its interval
and what else can be said (`scored.Scored`), and the paired difference from the first intervention.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from wheresight.probes.evaluate import Evaluated
from wheresight.probes.scored import Draw, Scored, baselines, readers, score
from wheresight.statistics.choices import share_numbers
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.sets import SetAccuracy
from wheresight.statistics.yes_no import YesNo

NUMBERS_VERSION = 1


def summarise(
    records: Sequence[Evaluated],
    interventions: Sequence[str],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
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
    return [
        _benchmark(name, own, blank.get(name, []), interventions, draw)
        for name, own in seen.items()
    ]


def _benchmark(
    name: str,
    own: Mapping[str, list[Evaluated]],
    blank: Sequence[Evaluated],
    interventions: Sequence[str],
    draw: Draw,
) -> dict[str, Any]:
    specs = [spec for spec in interventions if spec in own]
    reference = own[specs[0]]
    first = {reader: score(reference, reader, draw) for reader in readers(reference)}
    base = baselines(reference)
    found = []
    for spec in specs:
        entries = []
        for reader, of_first in first.items():
            scored = of_first if spec == specs[0] else score(own[spec], reader, draw)
            entry = _scored(scored)
            if spec != specs[0]:
                difference = scored.accuracy - of_first.accuracy
                entry["minus_first"] = _numbers(difference, (-1.0, 1.0))
            entries.append(entry)
        found.append({"intervention": spec, "readers": entries})
    return {
        "benchmark": name,
        "questions": len(reference),
        "pictures": next(iter(first.values())).clusters,
        "baselines": {
            "chance": base.chance,
            "majority": base.majority,
            "majority_by_category": base.majority_by_category,
            "present": base.present,
            "blind": [_scored(score(blank, reader, draw)) for reader in first] if blank else None,
            "blind_under": blank[0]["intervention"] if blank else None,
        },
        "interventions": found,
    }


def _scored(scored: Scored) -> dict[str, Any]:
    return {
        "reader": scored.reader,
        "unread": _or_null(scored.unread),
        "accuracy": _share(scored.accuracy, scored.clusters),
        "macro_accuracy": _numbers(scored.macro, (0.0, 1.0)),
        "chance_corrected": _numbers(scored.corrected, (-math.inf, 1.0)),
        "categories": {
            name: _numbers(share, (0.0, 1.0)) for name, share in scored.categories.items()
        },
        "sets": _sets(scored.sets),
        "pairs": _sets(scored.pairs),
        "yes_no": _yes_no(scored.yes_no),
    }


def _sets(found: SetAccuracy | None) -> dict[str, Any] | None:
    if found is None:
        return None
    counts = {"complete": found.complete, "incomplete": found.incomplete}
    return {**_share(found.share, found.clusters), **counts}


def _yes_no(found: YesNo | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {name: _numbers(getattr(found, name), (0.0, 1.0)) for name in YesNo.__dataclass_fields__}


def _share(drawn: Drawn, clusters: int) -> dict[str, float | None]:
    return {name: _or_null(value) for name, value in share_numbers(drawn, clusters).items()}


def _numbers(drawn: Drawn, bounds: tuple[float, float]) -> dict[str, float | None]:
    return {name: _or_null(value) for name, value in drawn.numbers(bounds).items()}


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None
