"""The records of a grid run as arrays, kept to the items that every intervention has answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wheresight.errors import RunError
from wheresight.runs.results import Counts, Protocol
from wheresight.statistics.measures import NEITHER, NO, YES, GridAnswers, QuestionAnswers

BASELINE = "none"

_COLUMNS = (
    "item", "key", "cell", "question", "intervention", "expected", "margin", "answer",
)  # fmt: skip
_CODES = {"no": NO, "yes": YES, "neither": NEITHER}


@dataclass(frozen=True, eq=False)
class CompleteItems:
    """The complete items of a grid run, ordered by key and item.

    Args:
        protocol: paper or balanced.
        interventions: their specs, the baseline first.
        questions: the kinds of question, the positive first.
        codes: NO, YES or NEITHER, (I, Q, M, C) int8; -1 where not asked.
        margins: nats, (I, Q, M, C); NaN where not asked.
        asked: whether the item asks the question, (Q, M).
        clusters: number of the item's key image, (M,).
        keys: ids of the key images by that number.
        counts: what was counted and what was left out.
    """

    protocol: Protocol
    interventions: list[str]
    questions: list[str]
    codes: np.ndarray
    margins: np.ndarray
    asked: np.ndarray
    clusters: np.ndarray
    keys: list[str]
    counts: Counts

    def answers(self, intervention: int) -> GridAnswers:
        """The answers of one intervention; the first question is the positive."""
        asked = [
            QuestionAnswers(self.codes[intervention, q], self.margins[intervention, q], who)
            for q, who in enumerate(self.asked)
        ]
        negatives = dict(zip(self.questions[1:], asked[1:], strict=True))
        return GridAnswers(asked[0], negatives, self.clusters)


def complete_items(
    table: pa.Table,
    protocol: str | None,
    interventions: Sequence[str] | None,
    shape: tuple[int, int] | None,
) -> CompleteItems:
    """Read the records of a grid run and keep the items that are complete.

    Args:
        table: records, in any order.
        protocol: paper drops the negatives; None is balanced where there are any.
        interventions: those to keep, in order; None keeps all, the baseline first and the
            others by name.
        shape: rows and columns; None counts cells up to the last that occurs.

    Raises:
        RunError: if records are missing, doubled or contradictory, or no item is complete.
    """
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise RunError(f"The records lack the columns {', '.join(missing)}.")
    if protocol is not None and protocol not in get_args(Protocol):
        raise RunError(f"The protocol is {protocol!r}; expected 'balanced' or 'paper'.")
    table = table.select(_COLUMNS).combine_chunks()
    if table.num_rows == 0:
        raise RunError("There are no records to summarise. Run the probe first.")
    names = _ordered(table["intervention"].unique().to_pylist(), interventions)
    table = table.filter(pc.is_in(table["intervention"], pa.array(names)))
    questions = _questions(table)
    if protocol is None:
        protocol = "balanced" if len(questions) > 1 else "paper"
    if protocol == "paper":
        questions = questions[:1]
        table = table.filter(pc.equal(table["question"], questions[0]))
    count = shape[0] * shape[1] if shape else pc.max(table["cell"]).as_py() + 1
    cells = list(range(count))
    pairs = table.group_by(["key", "item"]).aggregate([]).sort_by(
        [("key", "ascending"), ("item", "ascending")]
    )  # fmt: skip
    items, keys = pairs["item"].to_pylist(), pairs["key"].to_pylist()
    if len(set(items)) != len(items):
        raise RunError("An item appears in the records with two different keys.")

    at = (
        _positions(table["intervention"], names, "intervention"),
        _positions(table["question"], questions, "question"),
        _positions(table["item"], items, "item"),
        _positions(table["cell"], cells, "cell"),
    )
    size = (len(names), len(questions), len(items), len(cells))
    flat = np.ravel_multi_index(at, size)
    if len(np.unique(flat)) != len(flat):
        raise RunError(
            "Some (item, cell, question, intervention) is recorded twice. Each must have one row; "
            "records of two runs may have been joined."
        )
    codes = np.full(size, -1, np.int8)
    codes[at] = _positions(table["answer"], list(_CODES), "answer")
    margins = np.full(size, np.nan)
    margins[at] = table["margin"].to_numpy()
    if not np.isfinite(margins[at]).all():
        raise RunError("Some margins are not finite numbers; the model's logits were not either.")

    seen = codes >= 0
    asked: np.ndarray = np.any(seen, axis=(0, 3))
    answered: np.ndarray = np.all(seen, axis=(0, 3)) | ~asked
    complete: np.ndarray = np.all(answered, axis=0) & asked[0]
    if protocol == "balanced":
        complete &= np.any(asked[1:], axis=0)
    if not complete.any():
        raise RunError(
            f"None of the {len(items)} items in the records is complete: every intervention "
            f"({', '.join(names)}) must have answered every question in all {len(cells)} cells"
            + (", and there must be negatives" if protocol == "balanced" else "")
            + ". Finish the run, or name the interventions that are finished."
        )
    asked = asked[:, complete]
    kept: np.ndarray = np.any(asked, axis=1)
    questions = [question for question, keep in zip(questions, kept, strict=True) if keep]
    asked = asked[kept]
    names_of_keys, clusters = np.unique(np.array(keys)[complete], return_inverse=True)
    return CompleteItems(
        protocol="paper" if protocol == "paper" else "balanced",
        interventions=names,
        questions=questions,
        codes=codes[:, kept][:, :, complete],
        margins=margins[:, kept][:, :, complete],
        asked=asked,
        clusters=clusters,
        keys=names_of_keys.tolist(),
        counts=Counts(
            rows=table.num_rows,
            items=int(complete.sum()),
            items_left_out=int((~complete).sum()),
            clusters=int(clusters.max()) + 1,
            cells=len(cells),
            questions={q: int(who.sum()) for q, who in zip(questions, asked, strict=True)},
        ),
    )


def _questions(table: pa.Table) -> list[str]:
    """The kinds of question, the positive first and the negatives by name."""
    kinds = table.group_by(["question", "expected"]).aggregate([]).to_pylist()
    positives = [kind["question"] for kind in kinds if kind["expected"]]
    negatives = sorted(kind["question"] for kind in kinds if not kind["expected"])
    if len(positives) != 1 or positives[0] in negatives:
        raise RunError(
            "The records should have exactly one question that expects Yes, and others that always "
            f"expect No. Those that expect Yes: {positives}; No: {negatives}."
        )
    return positives + negatives


def _ordered(found: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return sorted(found, key=lambda name: (name != BASELINE, name))
    absent = [name for name in wanted if name not in found]
    if absent:
        raise RunError(f"The records have no intervention {', '.join(map(repr, absent))}.")
    return list(dict.fromkeys(wanted))


def _positions(column: pa.ChunkedArray, values: Sequence[Any], what: str) -> np.ndarray:
    """The place of each entry in a list of values."""
    found = pc.index_in(column, value_set=pa.array(values, type=column.type))
    if found.null_count:
        strange = pc.filter(column, pc.is_null(found))[0].as_py()
        raise RunError(
            f"The records have {what} {strange!r}, which is not among those expected: "
            f"{', '.join(map(str, values[:20]))}."
        )
    return found.to_numpy()
