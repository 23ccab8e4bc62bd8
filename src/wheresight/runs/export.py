"""Records in the form of other tools.

`lmms-eval`: one JSONL file for each intervention, a line a question, as lmms-eval's
`EvaluationTracker.save_results_samples` writes with --log_samples (read at its commit 4eadb30): the
fields doc_id, input, target, filtered_resps, doc_hash, and one field for each metric of the task.
There, resps is left out where it only repeats filtered_resps, as it does here, and doc and
arguments are always left out; what was shown stands in our metric's field instead.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wheresight.errors import RunError, unknown_name
from wheresight.probes.questions import ask
from wheresight.runs.store import RunFolder

FORMATS = ("lmms-eval",)
METRIC = "wheresight_grid"
_DOCUMENT = ("item", "key", "cell", "question", "caption", "recipe")


def export(folder: RunFolder, format: str, out: str | Path) -> list[Path]:
    """Write a run's records in another tool's form; return the files.

    Args:
        folder: the run.
        format: lmms-eval.
        out: folder to write into, laid out as that tool does: OUT/MODEL/DATE_samples_TASK.jsonl.
            DATE is when the records were computed, so that a second export replaces the first.

    Raises:
        RunError: an unknown format, no records, a damaged part, or a place that cannot be written.
    """
    if format not in FORMATS:
        raise RunError(unknown_name("format", format, FORMATS))
    manifest = folder.manifest()
    identity = manifest["identity"]
    environment = manifest["environment"] or {}
    rows = folder.read().to_pylist()
    numbers: dict[tuple[Any, ...], int] = {}
    for row in rows:
        numbers.setdefault((row["item"], row["cell"], row["question"]), len(numbers))
    specs = list(dict.fromkeys(row["intervention"] for row in rows))
    names = _task_names(specs, identity["protocol"])
    target = Path(out) / _plain(identity["model"])
    written = []
    for spec in sorted(specs):
        own = (row for row in rows if row["intervention"] == spec)
        lines = (
            json.dumps(sample, ensure_ascii=False, allow_nan=False) + "\n"
            for sample in _samples(own, numbers, identity["question"])
        )
        file = target / f"{_stamp(environment.get('date'))}_samples_{names[spec]}.jsonl"
        _write(file, lines)
        written.append(file)
    return written


def _samples(
    rows: Iterator[dict[str, Any]], numbers: dict[tuple[Any, ...], int], question: str
) -> Iterator[dict[str, Any]]:
    for row in rows:
        document = {name: row[name] for name in _DOCUMENT}
        truth = "yes" if row["expected"] else "no"
        said = row["text"] if row["text"] is not None else row["argmax_token"]
        yield {
            "doc_id": numbers[row["item"], row["cell"], row["question"]],
            "target": truth.title(),
            "filtered_resps": [said],
            "doc_hash": _sha256(json.dumps(document, indent=2, ensure_ascii=False)),
            METRIC: {
                **document,
                "prediction": row["answer"],
                "ground_truth": truth,
                "score": float(row["answer"] == truth),
                "margin": row["margin"],
                "intervention": row["intervention"],
            },
            "input": ask(question, row["caption"]),
        }


def _task_names(specs: list[str], protocol: str) -> dict[str, str]:
    """A file name's worth of each intervention; where two would be alike, with a hash."""
    plain = {spec: _plain(spec) for spec in specs}
    alike = [name for name in plain.values() if list(plain.values()).count(name) > 1]
    return {
        spec: f"{METRIC}_{protocol}_{name}" + (f"_{_sha256(spec)[:8]}" if name in alike else "")
        for spec, name in plain.items()
    }


def _plain(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_.")
    return name if len(name) <= 120 else f"{name[:111]}_{_sha256(text)[:8]}"


def _stamp(date: str | None) -> str:
    if date is None:
        return "00000000_000000"
    return datetime.datetime.fromisoformat(date).strftime("%Y%m%d_%H%M%S")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(file: Path, lines: Iterator[str]) -> None:
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as stream:
            stream.writelines(lines)
        partial.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        raise RunError(
            f"The export {str(file)!r} cannot be written ({reason}). The records are untouched; "
            "choose another --out."
        ) from None
