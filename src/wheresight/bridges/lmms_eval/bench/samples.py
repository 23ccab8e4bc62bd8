"""What each document's answer is worth, read from lmms-eval's samples, and checked against it.

A score that is an average of documents has an interval. Whether it is, is not believed but
reckoned: the average of what is read here must be lmms-eval's own number, else it has none.

Legend: D documents.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wheresight.bridges.lmms_eval.bench.units import Answers
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.yes_no import yes_no

_OF_A_PAIR = {"question_id", "category", "score"}
_NO_SHARES = ("delta", "delta_debiased")
_ROUNDED = 1e-5  # lmms-eval rounds MMMU's accuracy to five digits


@dataclass(frozen=True, eq=False)
class Number:
    """One number of one task under one intervention.

    Attributes:
        name, label, unit: as in `results.Metric`.
        official: lmms-eval's own; for a part of a score, what its formula gives.
        drawn: with replicates, or None.
        right: (D,) bool, where each document is right or wrong; else None.
        documents: how many it is of.
        clusters: how many different pictures, or sets of them, these show.
        own: whether lmms-eval has no such number.
    """

    name: str
    label: str
    unit: str
    official: float
    drawn: Drawn | None
    right: np.ndarray | None
    documents: int
    clusters: int = 0
    own: bool = False


def clusters_of(answers: Answers) -> list[str]:
    """For each document its source picture where the task says it, else what it shows.

    A document without any is its own cluster.
    """
    said = [_source(sample) for sample in answers.samples]
    if all(name is not None for name in said):
        return [str(name) for name in said]
    found = []
    for sample in answers.samples:
        number = int(sample["doc_id"])
        shown = answers.pictures.get(number)
        found.append(",".join(shown) if shown else f"document {number}")
    return found


def _source(sample: Mapping[str, Any]) -> Any:
    """The source picture in the records of this package's own tasks; None in those of others."""
    records = (value for value in sample.values() if isinstance(value, Mapping))
    return next((record["cluster"] for record in records if "cluster" in record), None)


def numbers(task: str, answers: Answers, draw: Callable[[Sequence[str]], Clusters]) -> list[Number]:
    """Every number of a task, lmms-eval's own first and in its order; of its first filter."""
    own = answers.results["results"][task]
    clusters = draw(clusters_of(answers))
    found: list[Number] = []
    first = next((key.partition(",")[2] for key in own if "," in key), "")
    for key, value in own.items():
        name, _, kept = key.partition(",")
        if kept != first or "_stderr" in name or not isinstance(value, int | float):
            continue
        values = [sample.get(name) for sample in answers.samples]
        if any(isinstance(v, Mapping) and set(v) == _OF_A_PAIR for v in values):
            found += _pairs(name, float(value), values, clusters_of(answers), draw)
        else:
            alone = _tells(name, answers.samples)
            found.append(_number(name, float(value), values, clusters, alone))
    return [*found, *_one_picture(found, answers, clusters)]


def _tells(name: str, samples: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a metric's field is about that metric: tasks put one record under several names.

    Such a record tells how many were right, which is the accuracy and none of the other numbers.
    """
    if name.lower().endswith(("acc", "accuracy")):
        return True
    first = samples[0]
    others = [value for key, value in first.items() if key != name and isinstance(value, Mapping)]
    return not isinstance(first.get(name), Mapping) or first[name] not in others


def _number(
    name: str, official: float, values: Sequence[Any], clusters: Clusters, alone: bool
) -> Number:
    number = functools.partial(Number, name, _label(name), "share", official)
    worth = [_worth(value, name) for value in values]
    if alone and all(w is not None for w in worth):
        scores = np.array(worth, dtype=np.float64)
        if abs(scores.mean() - official) <= _ROUNDED:
            right = scores.astype(bool) if set(worth) <= {0.0, 1.0} else None
            return number(clusters.mean(scores), right, len(scores), clusters.count)
    if all(isinstance(v, Mapping) and "ground_truth" in v and "prediction" in v for v in values):
        drawn = _yes_no(name, values, clusters)
        if drawn is not None and math.isclose(float(drawn.value), official, abs_tol=_ROUNDED):
            return number(drawn, None, len(values), clusters.count)
    unit = "share" if 0 <= official <= 1 and name not in _NO_SHARES else "score"
    return Number(name, _label(name), unit, official, None, None, len(values))


def _worth(value: Any, name: str) -> float | None:
    """What one document counts in a score that is an average; None if this is not known."""
    if isinstance(value, bool | int | float):
        return float(value)
    if not isinstance(value, Mapping):
        return None
    if "model_prediction" in value:  # HallusionBench: lmms-eval's rule is Yes anywhere, and no more
        said = "1" if "yes" in value["model_prediction"].lower() else "0"
        return float(said == value["gt_answer"]) if name == "aAcc" else None
    if "parsed_pred" in value:
        gold = value["answer"]
        return float(value["parsed_pred"] in (gold if isinstance(gold, list) else [gold]))
    for field in ("score", "is_correct"):
        if isinstance(value.get(field), bool | int | float):
            return float(value[field])
    return None


def _yes_no(name: str, values: Sequence[Mapping[str, Any]], clusters: Clusters) -> Drawn | None:
    said = [value["prediction"] for value in values]
    measured = yes_no(
        np.array([one == "yes" for one in said]),
        np.array([one == "no" for one in said]),
        np.array([value["ground_truth"] == "yes" for value in values]),
        clusters,
    )
    if name.endswith("f1_score"):
        return measured.f1
    if name.endswith("precision"):
        return measured.precision
    if name.endswith("recall"):  # lmms-eval leaves positives with neither answer out
        return measured.sensitivity
    return None


def _pairs(
    name: str,
    official: float,
    values: Sequence[Mapping[str, Any] | None],
    labels: Sequence[str],
    draw: Callable[[Sequence[str]], Clusters],
) -> list[Number]:
    """MME's score: in each category, accuracy over questions plus accuracy over pairs, in percent.

    Both questions about a picture are a pair, which is right if both are. A category counts to 200,
    and the score is the sum over categories.
    """
    pairs: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for value, label in zip(values, labels, strict=True):
        if value is not None:
            own = pairs.setdefault((value["category"], value["question_id"]), [])
            own.append((float(value["score"]), label))
    categories = list(dict.fromkeys(category for category, _ in pairs))
    worth = [50.0 * sum(s for s, _ in own) + 100.0 * (sum(s for s, _ in own) == 2)
             for own in pairs.values()]  # fmt: skip
    inside = np.array([[c == category for c in categories] for category, _ in pairs], dtype=float)
    clusters = draw([own[0][1] for own in pairs.values()])
    pair = np.stack([inside * np.array(worth)[:, None], inside], axis=-1)

    def means(sums: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            each = sums[..., 0] / sums[..., 1]
        return np.concatenate([each.sum(-1, keepdims=True), each], axis=-1)

    drawn = clusters.of_sums(pair, means)
    documents = sum(len(own) for own in pairs.values())
    if not math.isclose(float(drawn.value[0]), official, abs_tol=_ROUNDED):
        return [Number(name, _label(name), "score", official, None, None, documents)]
    total = Number(name, _label(name), "score", official, drawn.at(0), None, documents)
    parts = []
    for n, category in enumerate(categories, start=1):
        part = drawn.at(n)
        count = sum(len(held) for (kind, _), held in pairs.items() if kind == category)
        score = float(part.value)
        parts.append(
            Number(f"{name},{category}", category, "score", score, part, None, count, own=True)
        )
    return [total, *parts]


def _one_picture(found: Sequence[Number], answers: Answers, clusters: Clusters) -> list[Number]:
    """The first score of documents with exactly one picture, where there are others.

    The paper keeps only such questions (arXiv 2509.21984, section 5.4).
    """
    first = next((one for one in found if one.right is not None), None)
    shown = [len(answers.pictures.get(int(s["doc_id"]), ())) for s in answers.samples]
    one = np.array([count == 1 for count in shown])
    if first is None or first.right is None or one.all() or not one.any():
        return []
    drawn = clusters.mean(np.where(one, first.right.astype(np.float64), np.nan))
    return [
        Number(
            name=f"{first.name},one picture",
            label=f"{first.label}, questions with one picture",
            unit=first.unit,
            official=float(drawn.value),
            drawn=drawn,
            right=None,
            documents=int(one.sum()),
            clusters=len(np.unique(clusters.clusters[one])),
            own=True,
        )
    ]


def _label(name: str) -> str:
    return name.replace("_", " ")
