"""Which items a report shows: those whose answer flips, the worst cell's misses, false alarms.

Chosen by counting, never by looking, with ties broken by the item's id: the same records give the
same examples. The records are untrusted and may hold items that no result counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from wheresight.report.measures import place
from wheresight.report.numerals import quantity
from wheresight.runs.results import Results

_CHOICE_COLUMNS = ("item", "question", "intervention", "cell", "expected", "answer")


@dataclass(frozen=True)
class Reading:
    """What the model answered to one composite under one intervention."""

    intervention: str
    answer: str
    token: str
    margin: float
    right: bool


@dataclass(frozen=True)
class Shown:
    """One composite of an example: the cell, the recipe to draw, the readings."""

    cell: int
    recipe: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Example:
    """One item under one question, in all cells.

    Attributes:
        why: a sentence that says why it is shown.
        item, key, caption: as in the records.
        question: positive, absent or sibling.
        expected: whether Yes is right.
        places: its composites, by cell.
    """

    why: str
    item: str
    key: str
    caption: str
    question: str
    expected: bool
    places: tuple[Shown, ...]


def choose(records: pa.Table, results: Results, each: int = 2) -> list[Example]:
    """Choose examples, at most `each` of a kind: flips, worst-cell misses, false alarms.

    Args:
        records: as `wheresight.runs.records` has them.
        results: made from the same records; they say which interventions and cell to look at.
        each: how many of a kind.
    """
    specs = [r.intervention for r in results.interventions]
    table = records.filter(pc.is_in(records["intervention"], pa.array(specs, pa.string())))
    answers = _answers(table)
    chosen: dict[tuple[str, str], str] = {}
    for ranked in (
        _flips(answers, specs, results.counts.cells),
        _misses(answers, results),
        _false_alarms(answers, specs),
    ):
        taken = 0
        for _, item, question, why in sorted(ranked):
            if taken == each:
                break
            if (item, question) not in chosen:
                chosen[item, question] = why
                taken += 1
    found = (
        _example(table, item, question, why, specs) for (item, question), why in chosen.items()
    )
    return [example for example in found if example.places]


# (item, question, intervention) -> (expected, {cell: answer})
_Answers = dict[tuple[str, str, str], tuple[bool, dict[int, str]]]
_Ranked = list[tuple[float, str, str, str]]  # least first: rank, item, question, why


def _answers(table: pa.Table) -> _Answers:
    columns = [table[name].to_pylist() for name in _CHOICE_COLUMNS]
    found: _Answers = {}
    for item, question, intervention, cell, expected, answer in zip(*columns, strict=True):
        found.setdefault((item, question, intervention), (expected, {}))[1][cell] = answer
    return found


def _flips(answers: _Answers, specs: Sequence[str], cells: int) -> _Ranked:
    """Items whose positive is answered most evenly both ways, over all interventions."""
    even: dict[tuple[str, str], list[float]] = {}
    for (item, question, intervention), (expected, by_cell) in answers.items():
        if expected and len(by_cell) == cells and intervention in specs:
            yes = sum(answer == "yes" for answer in by_cell.values())
            even.setdefault((item, question), []).append(yes * (cells - yes))
    return [
        (-sum(products), item, question, "Its answer flips as the picture moves.")
        for (item, question), products in even.items()
        if sum(products) > 0
    ]


def _misses(answers: _Answers, results: Results) -> _Ranked:
    """Items that the baseline misses in its worst cell though it finds them elsewhere."""
    baseline = results.interventions[0]
    worst = baseline.overall.worst_cell
    if worst is None:
        return []
    why = (
        f"Missed at {place(results, worst)}, the worst cell of {baseline.intervention}, and found "
        "elsewhere."
    )
    return [
        (-sum(answer == "yes" for answer in by_cell.values()), item, question, why)
        for (item, question, intervention), (expected, by_cell) in answers.items()
        if expected
        and intervention == baseline.intervention
        and by_cell.get(worst, "yes") != "yes"
        and "yes" in by_cell.values()
    ]


def _false_alarms(answers: _Answers, specs: Sequence[str]) -> _Ranked:
    """Questions about what is not there that are answered Yes most often."""
    alarms: dict[tuple[str, str], tuple[int, int]] = {}
    for (item, question, _), (expected, by_cell) in answers.items():
        if not expected:
            yes = sum(answer == "yes" for answer in by_cell.values())
            before = alarms.get((item, question), (0, 0))
            alarms[item, question] = (before[0] + yes, before[1] + len(by_cell))
    return [
        (-yes, item, question, f"False alarm: {yes} of {quantity(asked, 'answer')} are Yes.")
        for (item, question), (yes, asked) in alarms.items()
        if yes
    ]


def _example(table: pa.Table, item: str, question: str, why: str, specs: Sequence[str]) -> Example:
    mine = pc.and_(pc.equal(table["item"], item), pc.equal(table["question"], question))
    rows = table.filter(mine).to_pylist()
    rows.sort(key=lambda row: (row["cell"], specs.index(row["intervention"])))
    readings: dict[int, list[Reading]] = {}
    recipes: dict[int, str] = {}
    for row in rows:
        recipes.setdefault(row["cell"], row["recipe"])
        readings.setdefault(row["cell"], []).append(
            Reading(
                row["intervention"],
                row["answer"],
                row["argmax_token"],
                row["margin"],
                row["answer"] == ("yes" if row["expected"] else "no"),
            )
        )
    first = rows[0]
    places = tuple(Shown(cell, recipes[cell], tuple(readings[cell])) for cell in sorted(recipes))
    return Example(why, item, first["key"], first["caption"], question, first["expected"], places)
