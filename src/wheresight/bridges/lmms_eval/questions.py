"""Benchmarks of spatial awareness as tasks of lmms-eval: 2DS, WhatsUp, VSR.

Questions, pictures and readers are those of `wheresight evaluate --max-new-tokens`, so the numbers
are the same on the same questions. Answers are read by the reader `strict`: the only option that
the text names. The reader `exact` stands beside it, because scores depend on the reader.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from wheresight.bridges.lmms_eval.settings import settings_of
from wheresight.errors import StimulusError
from wheresight.probes.evaluate import Evaluated
from wheresight.probes.scored import Scored, score
from wheresight.probes.text_answers import read as read_text
from wheresight.statistics.clustered import Clusters
from wheresight.stimuli.benchmarks import Benchmark, Question, open_benchmark

_KEPT = ("id", "cluster", "category", "group", "group_size", "pair", "present", "right")
_READ = ("accuracy", "accuracy_exact")
# What each task's file lists.
METRICS = {
    "2ds": (*_READ, "macro_accuracy", "chance_corrected"),
    "whatsup": (*_READ, "chance_corrected", "pair_accuracy", "set_accuracy"),
    "vsr": ("balanced_accuracy", *_READ, "f1", "macro_accuracy"),
}


def documents_2ds(dataset: Any) -> Any:
    """Questions of 2DS; lmms-eval calls this `process_docs`."""
    return _documents(settings_of(dataset, "WHERESIGHT_2DS"), "WHERESIGHT_2DS")


def documents_whatsup(dataset: Any) -> Any:
    """Questions of WhatsUp."""
    return _documents(settings_of(dataset, "WHERESIGHT_WHATSUP"), "WHERESIGHT_WHATSUP")


def documents_vsr(dataset: Any) -> Any:
    """Questions of VSR."""
    return _documents(settings_of(dataset, "WHERESIGHT_VSR"), "WHERESIGHT_VSR")


def picture(document: dict[str, Any]) -> list[Image.Image]:
    """A document's picture; lmms-eval calls this `doc_to_visual`."""
    benchmark, questions = _opened(document["benchmark"])
    return [benchmark.picture(questions[document["id"]])]


def read_2ds(document: dict[str, Any], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """One document's answer, for every metric; lmms-eval calls this `process_results`."""
    return _read(document, results, METRICS["2ds"])


def read_whatsup(document: dict[str, Any], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The same for WhatsUp."""
    return _read(document, results, METRICS["whatsup"])


def read_vsr(document: dict[str, Any], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The same for VSR."""
    return _read(document, results, METRICS["vsr"])


def _read(
    document: dict[str, Any], results: Sequence[str], metrics: Sequence[str]
) -> dict[str, dict[str, Any]]:
    found = read_text(results[0], document["options"])
    record = {
        **{name: document[name] for name in _KEPT},
        "options": list(document["options"]),
        "text": results[0],
    }
    # lmms-eval makes a standard error of an average of what is called score: of these two alone.
    by_reader = {"accuracy": found.strict, "accuracy_exact": found.exact}
    return dict.fromkeys(metrics, record) | {
        name: {**record, "score": float(picked == document["right"])}
        for name, picked in by_reader.items()
    }


def accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Share of right answers."""
    return float(_scored(records).accuracy.value)


def accuracy_exact(records: Sequence[dict[str, Any]]) -> float:
    """The same where the text is the option and nothing else."""
    return float(_scored(records, "exact").accuracy.value)


def macro_accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Mean of the categories' accuracies."""
    return float(_scored(records).macro.value)


def chance_corrected(records: Sequence[dict[str, Any]]) -> float:
    """(accuracy - chance) / (1 - chance): 0 for guessing, 1 for all right."""
    return float(_scored(records).corrected.value)


def pair_accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Share of pairs of which both are right; NaN where the benchmark has none."""
    pairs = _scored(records).pairs
    return math.nan if pairs is None else float(pairs.share.value)


def set_accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Share of whole sets that are all right; NaN where the benchmark has none."""
    sets = _scored(records).sets
    return math.nan if sets is None else float(sets.share.value)


def balanced_accuracy(records: Sequence[dict[str, Any]]) -> float:
    """Mean of sensitivity and specificity of yes and no questions."""
    found = _scored(records).yes_no
    return math.nan if found is None else float(found.balanced_accuracy.value)


def f1(records: Sequence[dict[str, Any]]) -> float:
    """Harmonic mean of precision and sensitivity of yes and no questions."""
    found = _scored(records).yes_no
    return math.nan if found is None else float(found.f1.value)


def _documents(settings: dict[str, Any], variable: str) -> Any:
    from datasets import Dataset

    spec = settings["benchmark"]
    if not spec:
        raise StimulusError(
            f"The task needs local files. Set {variable} to a benchmark's spec, such as "
            f"{settings['example']}; `wheresight list benchmarks` says where its files are from."
        )
    _, questions = _opened(spec)
    return Dataset.from_list(
        [
            {
                **{name: getattr(question, name) for name in _KEPT},
                "options": list(question.options),
                "prompt": question.text,
                "answer": question.answer,
                "benchmark": spec,
            }
            for question in questions.values()
        ]
    )


@functools.lru_cache(maxsize=4)
def _opened(spec: str) -> tuple[Benchmark, dict[str, Question]]:
    found = open_benchmark(spec)
    return found, {question.id: question for question in found.questions()}


def _scored(records: Sequence[dict[str, Any]], reader: str = "strict") -> Scored:
    return _of(json.dumps(records, sort_keys=True), reader)


@functools.lru_cache(maxsize=4)
def _of(records: str, reader: str) -> Scored:
    # Intervals are not asked for here.
    draw = functools.partial(Clusters, replicates=0)
    return score(_evaluated(json.loads(records)), reader, draw)


def _evaluated(records: Sequence[dict[str, Any]]) -> list[Evaluated]:
    return [
        Evaluated(
            benchmark="",
            control="",
            question=record["id"],
            cluster=record["cluster"],
            category=record["category"],
            group=record["group"],
            group_size=record["group_size"],
            pair=record["pair"],
            prompt="",
            letters=False,
            options=record["options"],
            right=record["right"],
            present=record["present"],
            picture="",
            intervention="",
            intervention_json="",
            logp=[],
            mean_logp=[],
            ended=False,
            confidence=math.nan,
            text=record["text"],
        )
        for record in records
    ]
