"""What a person sees in the terminal after an evaluation: accuracies beside their baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wheresight.report.numerals import written
from wheresight.report.texts import one_line

# What each reader of answers does, in a few words.
READERS = {
    "logp": "likeliest option",
    "mean_logp": "likeliest option, by token",
    "exact": "text is the option",
    "strict": "text names one option",
    "first": "first option in the text",
    "last": "last option in the text",
    "letter": "letter in the text",
    "published": "substring, as published",
}
_YES_NO = {
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "harmonic": "harmonic mean of sensitivity and specificity",
    "yes_share": "share of Yes",
}


def print_evaluation(evaluation: Mapping[str, Any], console: Console) -> None:
    """Print the main numbers of every benchmark; evaluation.json has all, categories too.

    Args:
        evaluation: what is in evaluation.json.
        console: where to.
    """
    if evaluation["caution"]:
        console.print(Text(evaluation["caution"], "bold"))
    for entry in evaluation["benchmarks"]:
        console.print()
        title = f"{one_line(entry['benchmark'], 90)}: {entry['questions']:,} questions about "
        console.print(Text(f"{title}{entry['pictures']:,} pictures", "bold"))
        console.print(_table(entry))
        console.print(Text(f"Without looking, right in %: {_baselines(entry['baselines'])}."))
    console.print(
        Text("\nPercent; brackets are 95 % intervals, clustered by source picture.", "dim")
    )


def _table(entry: Mapping[str, Any]) -> Table:
    sides = entry["interventions"]
    names = [one_line(side["intervention"], 40) for side in sides]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("")
    for name in names:
        found.add_column(Text(name), justify="right")
    for name in names[1:]:
        found.add_column(Text(f"{name} minus {names[0]}"), justify="right")
    for label, cells, differences in _lines(entry):
        found.add_row(
            Text(label), *map(_cell, cells), *(_cell(d, signed=True) for d in differences)
        )
    return found


def _lines(
    entry: Mapping[str, Any],
) -> Iterator[tuple[str, list[Mapping[str, Any] | None], list[Mapping[str, Any] | None]]]:
    """Label, number under each intervention, and differences from the first where there are any."""
    by_reader = zip(*(side["readers"] for side in entry["interventions"]), strict=True)
    for n, row in enumerate(by_reader):
        differences = [cell["minus_first"] for cell in row[1:]]
        yield (
            READERS.get(row[0]["reader"], row[0]["reader"]),
            [c["accuracy"] for c in row],
            differences,
        )
        if n:
            continue
        nothing: list[Mapping[str, Any] | None] = [None] * len(differences)
        for kind, label in (("pairs", "both of a pair"), ("sets", "all of a set")):
            if row[0][kind] and row[0][kind]["complete"]:
                yield f"  {label}", [cell[kind] for cell in row], nothing
        if row[0]["yes_no"]:
            for kind, label in _YES_NO.items():
                yield f"  {label}", [cell["yes_no"][kind] for cell in row], nothing


def _baselines(base: Mapping[str, Any]) -> str:
    found = [
        f"guessing {written(base['chance'], 'share')}",
        f"always the most frequent answer {written(base['majority'], 'share')}",
    ]
    if base["majority_by_category"] < 1:  # where it is 1, the category is the answer
        found[-1] += f" (of each category {written(base['majority_by_category'], 'share')})"
    if base["present"] is not None:
        found.append(f"seeing what is there but not where {written(base['present'], 'share')}")
    if base["blind"]:
        blind = base["blind"][0]["accuracy"]["value"]
        found.append(
            f"this model on blank pictures, under {base['blind_under']}, {written(blind, 'share')}"
        )
    return "; ".join(found)


def _cell(number: Mapping[str, Any] | None, signed: bool = False) -> Text:
    if number is None or number["value"] is None:
        return Text("")
    value = written(number["value"], "share", signed=signed)
    if number["low"] is None:
        return Text(value)
    low, high = (written(number[end], "share", signed=signed) for end in ("low", "high"))
    ends = f" ({low} to {high})"
    return Text.assemble(value, (ends, "dim"))
