"""One task under every intervention: numbers side by side, with paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from wheresight.bridges.lmms_eval.bench import tasks
from wheresight.bridges.lmms_eval.bench.results import Entry, Metric, Task
from wheresight.bridges.lmms_eval.bench.samples import Number, clusters_of, numbers
from wheresight.bridges.lmms_eval.bench.units import Answers
from wheresight.errors import RunError
from wheresight.runs.evaluation import estimate, share
from wheresight.runs.results import Estimate
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.paired import mcnemar

_NO_INTERVAL = (
    "It is no average of documents that lmms-eval's samples tell, so it has no interval here."
)
_ALIKE = "All pictures count alike here, so a bootstrap tells nothing of others."
_TITLES = {
    "wheresight_mmmu_pro_4": "MMMU-Pro, 4 options",
    "mmmu_pro_standard": "MMMU-Pro, 10 options",
    "scienceqa_img": "ScienceQA, with picture",
    "crpe_relation": "CRPE, relation",
    "wheresight_hallusion_bench": "HallusionBench, by rule",
    "wheresight_mme": "MME, four categories",
    "mme": "MME",
    "pope": "POPE",
    "gqa": "GQA",
    "cv_bench": "CV-Bench",
    "cv_bench_2d": "CV-Bench, 2D",
    "cv_bench_3d": "CV-Bench, 3D",
    "wheresight_grid_probe": "Grid probe",
    "wheresight_2ds": "2DS",
    "wheresight_whatsup": "WhatsUp",
    "wheresight_vsr": "VSR",
}


def task_result(
    name: str,
    answers: Mapping[str, Answers],
    *,
    data: str,
    draw: Callable[[Sequence[str]], Clusters],
) -> Task:
    """What bench.json says of a task.

    Args:
        name: of the task.
        answers: under each intervention; the first is the reference.
        data: where its data came from.
        draw: makes the clusters to draw from labels.

    Raises:
        RunError: interventions that were asked different documents.
    """
    _check_same(name, answers)
    first = next(iter(answers.values()))
    labels = clusters_of(first)
    found = {spec: numbers(name, own, draw) for spec, own in answers.items()}
    higher = first.results.get("higher_is_better", {}).get(name, {})
    reference = found[next(iter(found))]
    metrics = []
    for n, number in enumerate(reference):
        entries = [_entry(spec, own[n], number, labels) for spec, own in found.items()]
        metrics.append(
            Metric(
                name=number.name,
                label=number.label,
                unit="share" if all(own[n].unit == "share" for own in found.values()) else "score",
                higher_is_better=higher.get(number.name.partition(",")[0]),
                documents=number.documents,
                own=number.own,
                entries=entries,
            )
        )
    return Task(
        name=name,
        title=_TITLES.get(name, name),
        documents=len(first.samples),
        pictures=len(set(labels)),
        data=data,
        note=tasks.DERIVED[name].why if name in tasks.DERIVED else "",
        metrics=metrics,
    )


def _check_same(name: str, answers: Mapping[str, Answers]) -> None:
    """Paired differences need the same documents with the same pictures and right answers."""
    seen = {
        spec: [(s["doc_id"], str(s.get("target")), s.get("input")) for s in own.samples]
        for spec, own in answers.items()
    }
    reference = next(iter(seen))
    for spec, own in seen.items():
        if own != seen[reference]:
            raise RunError(
                f"The task {name!r} asked other documents under {spec!r} than under "
                f"{reference!r}: its data has changed in between. Choose a new --out."
            )


def _entry(spec: str, number: Number, first: Number, labels: Sequence[str]) -> Entry:
    if number.drawn is None:
        bare = Estimate.of(number.official, math.nan, math.nan, _NO_INTERVAL)
        return Entry(
            intervention=spec, official=number.official, estimate=bare, standard_error=None
        )
    is_share = number.unit == "share"
    spread = _spread(number.drawn)
    if is_share:
        value = share(number.drawn, number.clusters)
    else:
        value = _varying(number.drawn, (0.0, math.inf), spread)
    minus, p = None, None
    if number is not first and first.drawn is not None:
        change = number.drawn - first.drawn
        limits = (-1.0, 1.0) if is_share else (-math.inf, math.inf)
        minus = _varying(change, limits, _spread(change))
        if number.right is not None and first.right is not None:
            clusters = np.unique(np.array(labels), return_inverse=True)[1]
            p = mcnemar(first.right, number.right, clusters).p
    return Entry(
        intervention=spec,
        official=number.official,
        estimate=value,
        standard_error=spread or None,
        minus_first=minus,
        p=p,
    )


def _spread(drawn: Drawn) -> float:
    """Standard deviation of the replicates; 0 where there are none, or all are alike."""
    known = drawn.replicates[np.isfinite(drawn.replicates)]
    return float(known.std(ddof=1)) if len(known) > 1 and np.ptp(known) > 0 else 0.0


def _varying(drawn: Drawn, bounds: tuple[float, float], spread: float) -> Estimate:
    """An estimate; without an interval where the pictures do not differ, for then it has no width
    and says nothing of others."""
    if spread:
        return estimate(drawn, bounds)
    return Estimate.of(float(drawn.value), math.nan, math.nan, _ALIKE)
