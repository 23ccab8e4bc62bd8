"""What is asked of a cell's model, and every answer to it in one table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import pyarrow as pa
import pyarrow.parquet as pq
import teach
import world
from design import Cell, Design, measured_name

from wheresight.pocket.curves import Report
from wheresight.probes.evaluate import Evaluated
from wheresight.runs.places import open_place
from wheresight.runs.progress import Progress

ANSWERS, RECORD = "answers.parquet", "measured.json"
PROBE, TWODS, LOCALISATION = "probe", "2ds", "localisation"
_REPLICATES = 200  # for the pages of each cell; the study draws its own
# What of the diagnostics is compared; all else stays in the cell's own folder.
_KEPT = ("accuracy", "psi", "psi_chance", "psi_logp", "kl", "ratio.input", "ratio.end")

SCHEMA = pa.schema(
    [
        ("test", pa.string()),
        ("item", pa.string()),
        ("cluster", pa.string()),
        ("cell", pa.int16()),  # of the key in the grid; -1 where there is no grid
        ("question", pa.string()),  # kind of question, or category
        ("chance", pa.float32()),
        ("right", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Measured:
    """One finished cell.

    Attributes:
        cell: which.
        answers: every answer, as SCHEMA says, in one order for all cells.
        record: curve, times (``finished`` in seconds since 1970), and what the diagnostics found.
    """

    cell: Cell
    answers: pa.Table
    record: dict[str, Any]


def measured(design: Design, cell: Cell, out: Path, report: Report, progress: Progress) -> Path:
    """The folder of all that was measured of a cell; made if it is not whole.

    Each of its three runs goes on where it stopped.
    """
    folder = out / "cells" / measured_name(design, cell, models.tower_revision())
    if (folder / RECORD).is_file():
        return folder
    model = teach.taught(design, cell, out, report)
    began, spent = time.monotonic(), time.process_time()
    pairs = out / "pairs.parquet"
    if not pairs.is_file():
        draft = out / f".pairs-{cell.name}.parquet"
        world.write_pairs(draft)
        draft.rename(pairs)
    rows = [
        *_probed(design, cell, model, pairs, folder / "probe", progress),
        *_evaluated(design, cell, model, pairs, folder / "evaluation", progress),
    ]
    found = _diagnosed(design, cell, model, pairs, folder / "diagnosis", progress)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / ANSWERS, compression="zstd")
    record = {
        **json.loads((model / teach.RECORD).read_text()),
        "measuring_seconds": time.monotonic() - began,
        "measuring_processor_seconds": time.process_time() - spent,
        "finished": time.time(),
        "findings": found,
    }
    draft = folder / f".{RECORD}"
    draft.write_text(json.dumps(record, indent=1) + "\n")
    draft.rename(folder / RECORD)  # last: it says that the cell is whole
    return folder


def finished(design: Design, cell: Cell, out: Path) -> Measured | None:
    """A cell that is whole, or None."""
    folder = out / "cells" / measured_name(design, cell, models.tower_revision())
    if not (folder / RECORD).is_file():
        return None
    record = json.loads((folder / RECORD).read_text())
    return Measured(cell, pq.read_table(folder / ANSWERS), record)


def _probed(
    design: Design, cell: Cell, model: Path, pairs: Path, out: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    from wheresight.runs.grid_run import run_grid
    from wheresight.runs.request import GridRequest
    from wheresight.runs.store import RunFolder

    run_grid(
        GridRequest(
            out=str(out),
            model=str(model),
            source=f"parquet:{pairs}",
            items=design.measuring.items,
            interventions=(cell.spec,),
            question="short",
            replicates=_REPLICATES,
        ),
        progress=progress,
    )
    table = RunFolder(str(out)).read()
    keys = [(name, "ascending") for name in ("item", "cell", "question")]
    for row in table.sort_by(keys).to_pylist():
        yield {
            "test": PROBE,
            "item": row["item"],
            "cluster": row["key"],
            "cell": row["cell"],
            "question": row["question"],
            "chance": 0.5,
            "right": row["answer"] == ("yes" if row["expected"] else "no"),
        }


def _evaluated(
    design: Design, cell: Cell, model: Path, pairs: Path, out: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    from wheresight.runs.evaluate import EvaluateRequest, read_records, run_evaluate

    given = design.measuring
    run_evaluate(
        EvaluateRequest(
            out=str(out),
            benchmarks=(
                twods(given.images, 0),
                f"localisation:parquet:{pairs}#items={given.localisation},wording=bare",
            ),
            model=str(model),
            interventions=(cell.spec,),
            blind=False,
            replicates=_REPLICATES,
        ),
        progress=progress,
    )
    records = read_records(open_place(str(out)))
    for record in sorted(records, key=lambda r: (r["benchmark"], r["question"])):
        yield from _answer(record)


def _answer(record: Evaluated) -> Iterator[dict[str, Any]]:
    """One answer: the option that is likeliest as a whole."""
    grid = record["benchmark"].startswith(LOCALISATION)
    scores = record["logp"]
    yield {
        "test": LOCALISATION if grid else TWODS,
        "item": record["group"] if grid else record["question"],
        "cluster": record["cluster"],
        "cell": record["right"] if grid else -1,
        "question": "where" if grid else record["category"],
        "chance": 1 / len(record["options"]),
        "right": max(range(len(scores)), key=scores.__getitem__) == record["right"],
    }


def _diagnosed(
    design: Design, cell: Cell, model: Path, pairs: Path, out: Path, progress: Progress
) -> list[dict[str, Any]]:
    from wheresight.runs.diagnose import DiagnoseRequest, run_diagnose

    given = design.measuring
    outcome = run_diagnose(
        DiagnoseRequest(
            out=str(out),
            tools=("psi:draws=1", f"norms:items={given.norm_items}"),
            benchmark=twods(given.psi_images, 1),
            model=str(model),
            source=f"parquet:{pairs}",
            interventions=(cell.spec,),
            question="short",
            replicates=_REPLICATES,
        ),
        progress=progress,
    )
    return [
        {
            "tool": diagnosed.name,
            "name": number.name,
            "where": number.where,
            "definition": number.definition,
            "value": number.estimate.value,
            "low": number.estimate.low,
            "high": number.estimate.high,
        }
        for diagnosed in outcome.diagnosis.diagnostics
        for number in diagnosed.findings
        if number.name.removeprefix(f"{diagnosed.name}.") in _KEPT
    ]


def twods(images: int, seed: int) -> str:
    """The 2DS that this study asks: large shapes of its own names, questions without a list."""
    return f"2ds#images={images},seed={seed},variant=small_models,wording=bare"
