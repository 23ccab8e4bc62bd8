"""The grid probe as a task of lmms-eval: its documents, its readers, its numbers.

A document is one question about one composite, kept as a recipe; pixels are drawn when they are
shown. The numbers are those of `wheresight probe --generate` on the same items.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from PIL import Image

from wheresight.bridges.lmms_eval.settings import settings_of
from wheresight.lvlm.answers import read_answer
from wheresight.probes.grid import GridProbe
from wheresight.probes.questions import ask
from wheresight.runs.request import GridRequest, check_stimuli, grid_settings
from wheresight.runs.results import Results
from wheresight.runs.summarise import summarise
from wheresight.stimuli.composites import Recipe
from wheresight.stimuli.render import Renderer
from wheresight.stimuli.sources import open_source

VARIABLE = "WHERESIGHT_GRID_PROBE"
_REPLICATES = 100  # intervals are not asked for here, and this is the least
METRICS = (
    "balanced_accuracy",
    "accuracy",
    "hit_rate",
    "false_alarm_rate",
    "delta",
    "delta_debiased",
    "flip_rate",
    "strict_accuracy",
)


def documents(dataset: Any) -> Any:
    """All questions of the probe, item by item; lmms-eval calls this `process_docs`."""
    from datasets import Dataset

    probe = _probe(json.dumps(settings_of(dataset, VARIABLE)))
    s = probe.settings
    rows = [
        {
            "item": composite.item,
            "key": composite.key,
            "cell": composite.cell,
            "question": one.question,
            "caption": one.caption,
            "expected": one.expected,
            "recipe": composite.recipe.to_json(),
            "prompt": ask(s.question, one.caption),
            "source": s.source,
            "rows": s.rows,
            "columns": s.columns,
            "protocol": s.protocol,
        }
        for composite in probe.shown(probe.items)
        for one in composite.asks
    ]
    return Dataset.from_list(rows)


def picture(document: dict[str, Any]) -> list[Image.Image]:
    """The composite of a document; lmms-eval calls this `doc_to_visual`."""
    return [_renderer(document["source"]).render(Recipe.from_json(document["recipe"]))]


def target(document: dict[str, Any]) -> str:
    """The right answer."""
    return "Yes" if document["expected"] else "No"


def read(document: dict[str, Any], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """One document's answer, for every metric; lmms-eval calls this `process_results`."""
    answer = read_answer(results[0])
    kept = ("item", "key", "cell", "question", "expected", "rows", "columns", "protocol")
    record = {
        **{name: document[name] for name in kept},
        "answer": answer,
        "right": answer == target(document).lower(),
        "cluster": document["key"],
    }
    # lmms-eval makes a standard error of an average of what is called score: of this one alone.
    found = dict.fromkeys(METRICS, record)
    return {**found, "accuracy": {**record, "score": float(record["right"])}}


def accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Share of right answers, over positives and negatives as they were asked."""
    return sum(record["right"] for record in records) / len(records)


def balanced_accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Mean of hit rate and correct-rejection rate; NaN without negatives."""
    return _value(_results(records).interventions[0].overall.balanced_accuracy)


def hit_rate(records: Sequence[dict[str, Any]]) -> float:
    """Share of positives answered Yes; 100 times it is the paper's accuracy."""
    return _value(_results(records).interventions[0].overall.hit_rate)


def false_alarm_rate(records: Sequence[dict[str, Any]]) -> float:
    """Share of negatives answered Yes; NaN without negatives."""
    return _value(_results(records).interventions[0].overall.false_alarm_rate)


def delta(records: Sequence[dict[str, Any]]) -> float:
    """The paper's Delta: sample variance of the cells' hit rates, in percent squared."""
    return _value(_results(records).interventions[0].overall.spread.delta)


def delta_debiased(records: Sequence[dict[str, Any]]) -> float:
    """Delta less what chance alone makes of it."""
    return _value(_results(records).interventions[0].overall.spread.delta_debiased)


def flip_rate(records: Sequence[dict[str, Any]]) -> float:
    """How often an item's answer changes between two cells."""
    return _value(_results(records).interventions[0].overall.agreement.flip_rate)


def strict_accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Share of items right in every cell, on every question; NaN without negatives."""
    return _value(_results(records).interventions[0].overall.agreement.strict_accuracy)


def _value(estimate: Any) -> float:
    return float("nan") if estimate is None or estimate.value is None else float(estimate.value)


def _results(records: Sequence[dict[str, Any]]) -> Results:
    """The probe's numbers; every metric asks for them, so they are kept."""
    return _summarised(json.dumps(records, sort_keys=True))


@functools.lru_cache(maxsize=2)
def _summarised(records: str) -> Results:
    import pyarrow as pa

    found = json.loads(records)
    first = found[0]
    rows = [{**r, "intervention": "asked", "margin": 0.0} for r in found]
    return summarise(
        pa.Table.from_pylist(rows),
        configuration={},
        command="lmms-eval",
        protocol=first["protocol"],
        grid=(first["rows"], first["columns"]),
        replicates=_REPLICATES,
    )


@functools.lru_cache(maxsize=2)
def _probe(settings: str) -> GridProbe:
    given = {name: value for name, value in json.loads(settings).items() if value is not None}
    size = given.pop("picture_size", None)
    request = GridRequest(out="", generate=True, **given)
    check_stimuli(request)
    source = open_source(request.source, seed=request.seed)
    found = grid_settings(request, source, weights="", trained_under=None, picture_size=size)
    return GridProbe(found, source, request.items)


@functools.lru_cache(maxsize=2)
def _renderer(source: str) -> Renderer:
    return Renderer(open_source(source))
