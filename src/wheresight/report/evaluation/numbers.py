"""Which numbers of an evaluation are shown, what each is called, and what each means.

Terminal and page read this one list, so that a number has one name and one definition everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wheresight.runs.evaluation_results import (
    BenchmarkResult,
    ControlAgreement,
    ReaderResult,
    TogetherResult,
    YesNoResult,
)
from wheresight.runs.results import Estimate

# What each reader of answers does, in a few words, and in a sentence.
READERS = {
    "logp": ("likeliest option", "The option whose words the model holds likeliest as its answer, "
             "by their log-probability as a whole. Nothing is generated."),
    "mean_logp": ("likeliest option by token", "The same by the mean log-probability of an "
                  "option's tokens, so that long options lose nothing by their length."),
    "exact": ("text is the option", "The generated text is the option's words and nothing else, "
              "case and punctuation apart."),
    "strict": ("text names one option", "The generated text names exactly one of the options."),
    "first": ("first option in the text", "Of the options that the generated text names, the "
              "first."),
    "last": ("last option in the text", "Of the options that the generated text names, the last."),
    "letter": ("letter in the text", "The letter of an option that the generated text gives."),
    "published": ("substring, as published", "As the released code of AdaptVis counts: the right "
                  "word is anywhere in the text, even if others are too."),
}  # fmt: skip

YES_NO = {
    "balanced_accuracy": ("balanced accuracy", "Mean of sensitivity and specificity. Always Yes, "
                          "always No and guessing all score 50%."),
    "sensitivity": ("sensitivity", "Of the questions whose right answer is Yes, the share answered "
                    "Yes."),
    "specificity": ("specificity", "Of the questions whose right answer is No, the share answered "
                    "No."),
    "precision": ("precision", "Of the answers Yes, the share that are right."),
    "f1": ("F1", "Harmonic mean of precision and sensitivity."),
    "harmonic": ("harmonic mean of the two sides", "Harmonic mean of sensitivity and specificity. "
                 "AdaptVis calls this one F1."),
    "yes_share": ("share of Yes", "How often the answer is Yes, rightly or wrongly."),
}  # fmt: skip

CONTROL = {
    "right_both": ("right before and after", "Share of questions answered rightly without the "
                   "control and under it."),
    "right_plain_only": ("right before alone", "Share answered rightly only without the control."),
    "right_control_only": ("right after alone", "Share answered rightly only under the control."),
    "wrong_both": ("wrong before and after", "Share answered wrongly both times."),
    "followed": ("answer followed the change", "Of the questions whose right answer changes from "
                 "one word to another: share answered with the one and then the other, in either "
                 "order. It says whether the model looks at place."),
    "stayed": ("answer stayed the same", "Of the same questions: share answered in the same words "
               "both times. An answer that does not depend on place gives 100%."),
    "otherwise": ("answer changed to something else", "Of the same questions: the rest, answers "
                  "that name no option included."),
    "same": ("same answer where the right one stays", "Of the questions whose right answer does "
             "not change: share answered in the same words both times."),
    "same_place": ("same place in the list", "Of the questions whose options stand in another "
                   "order: share that picked other words at the same place in the list."),
}  # fmt: skip
# The parts of CONTROL that are shares of some of the questions only, and the count of these.
CONTROL_OF = {
    "followed": "answer_changes",
    "stayed": "answer_changes",
    "otherwise": "answer_changes",
    "same": "answer_stays",
    "same_place": "options_move",
}
CONTROLS = {
    "mirror": "pictures left for right",
    "swap": "two things in each other's place",
    "permute": "options in another order",
    "added": "one more option, which is wrong",
    "blank": "blank pictures",
}


@dataclass(frozen=True)
class Line:
    """One number under each intervention.

    Attributes:
        label: what it is called.
        numbers: one for each intervention.
        differences: from the first, for each of the others; empty where there are none.
        note: what to know with it.
        blind: the same on blank pictures, under the first intervention.
    """

    label: str
    numbers: tuple[Estimate | None, ...]
    differences: tuple[Estimate | None, ...] = ()
    note: str = ""
    blind: Estimate | None = None


def reader_name(reader: str) -> str:
    """What a reader is called."""
    return READERS[reader][0] if reader in READERS else reader


def interventions(entry: BenchmarkResult) -> list[str]:
    """The specs of a benchmark's columns."""
    return [side.intervention for side in entry.interventions]


def by_reader(entry: BenchmarkResult) -> list[tuple[ReaderResult, ...]]:
    """For each reader, what it found under each intervention; the first reader is the main one."""
    return list(zip(*(side.readers for side in entry.interventions), strict=True))


def accuracies(entry: BenchmarkResult) -> list[Line]:
    """Accuracy by each reader, with paired differences, and on blank pictures."""
    blind = {cell.reader: cell.accuracy for cell in entry.baselines.blind or ()}
    return [
        Line(
            reader_name(row[0].reader),
            tuple(cell.accuracy for cell in row),
            tuple(cell.minus_first for cell in row[1:]),
            blind=blind.get(row[0].reader),
        )
        for row in by_reader(entry)
    ]


def merged(lines: Sequence[Line]) -> list[Line]:
    """Lines of the same numbers become one; its label names them all."""
    found: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        found.setdefault((line.numbers, line.differences, line.blind), []).append(line)
    return [
        replace(same[0], label="; ".join(line.label for line in same)) for same in found.values()
    ]


def averages(entry: BenchmarkResult) -> list[Line]:
    """Other averages of the main reader."""
    row = by_reader(entry)[0]
    found = [Line("above guessing (0 to 100)", tuple(cell.chance_corrected for cell in row))]
    if len(row[0].categories) > 1:
        found.insert(0, Line("mean of the categories", tuple(cell.macro_accuracy for cell in row)))
    return found


def categories(entry: BenchmarkResult) -> list[Line]:
    """The main reader's accuracy in each category; nothing where there is only one."""
    row = by_reader(entry)[0]
    names = list(row[0].categories)
    if len(names) < 2:
        return []
    counts = entry.category_questions
    return [
        Line(
            name or "(no category)",
            tuple(cell.categories.get(name) for cell in row),
            note=f"{counts[name]:,} questions" if name in counts else "",
        )
        for name in names
    ]


def together(entry: BenchmarkResult, readers: int | None = None) -> list[Line]:
    """Pairs and sets, by the first so many readers, and as the released code counts them.

    Readers of the same numbers share a line. The published share is given where it is another one.
    """
    kinds: tuple[tuple[str, Callable[[ReaderResult], TogetherResult | None]], ...] = (
        ("both of a pair", lambda cell: cell.pairs),
        ("all of a set", lambda cell: cell.sets),
    )
    found = []
    for label, read in kinds:
        counted, published = [], []
        for row in by_reader(entry)[:readers]:
            cells = tuple(read(cell) for cell in row)
            name, first = reader_name(row[0].reader), cells[0]
            if first is None:
                continue
            cut = f", {first.incomplete:,} in part and left out" if first.incomplete else ""
            if first.complete:
                counted.append(Line(name, cells, note=f"{first.complete:,} asked whole{cut}"))
            if first.incomplete and first.published_share is not None:
                published.append(
                    Line(
                        name,
                        tuple(_alone(cell) for cell in cells),
                        note="over the questions asked; cut ones count as wrong",
                    )
                )
        for title, lines in ((label, counted), (f"{label}, as published", published)):
            for line in merged(lines):
                by = title if readers == 1 else f"{title}: {line.label}"
                found.append(replace(line, label=by))
    return found


def _alone(cell: TogetherResult | None) -> Estimate | None:
    """The published share, which has no interval."""
    if cell is None or cell.published_share is None:
        return None
    return Estimate(
        value=cell.published_share, low=None, high=None, reason="The published count has none."
    )


def yes_no(entry: BenchmarkResult, names: Sequence[str] = tuple(YES_NO)) -> list[Line]:
    """Yes and no numbers by the main reader; nothing where questions are others."""
    found: list[YesNoResult | None] = [cell.yes_no for cell in by_reader(entry)[0]]
    measured = [one for one in found if one is not None]
    if len(measured) < len(found):
        return []
    return [Line(YES_NO[name][0], tuple(getattr(one, name) for one in measured)) for name in names]


def control(entry: BenchmarkResult, names: Sequence[str] = tuple(CONTROL)) -> list[Line]:
    """Agreement with the plain benchmark by the main reader; nothing where there is none."""
    cells: list[ControlAgreement | None] = [cell.agreement for cell in by_reader(entry)[0]]
    found = [one for one in cells if one is not None]
    if len(found) < len(cells):
        return []
    lines = []
    for name in names:
        count = getattr(found[0], CONTROL_OF.get(name, "questions"))
        if count:
            numbers = tuple(getattr(one, name) for one in found)
            lines.append(Line(CONTROL[name][0], numbers, note=f"{count:,} questions"))
    return lines


@dataclass(frozen=True)
class Baseline:
    """What someone reaches who does not look, or not at place.

    Attributes:
        name: for programs.
        label: who that is.
        share: accuracy.
        estimate: the same with its interval, where it was measured.
    """

    name: str
    label: str
    share: float
    estimate: Estimate | None = None


def baselines(entry: BenchmarkResult) -> list[Baseline]:
    """The baselines of a benchmark by its main reader, in a fixed order."""
    base = entry.baselines
    found = [
        Baseline("chance", "guessing", base.chance),
        Baseline("majority", "always the most frequent answer", base.majority),
    ]
    by_category = base.majority_by_category
    if base.majority < by_category < 1:  # where it is 1, the category is the answer
        found.append(
            Baseline("by_category", "the most frequent answer of each category", by_category)
        )
    if base.present is not None:
        found.append(Baseline("present", "seeing what is there but not where", base.present))
    if base.blind:
        blind = base.blind[0].accuracy
        if blind.value is not None:
            label = f"this model on blank pictures, under {base.blind_under}"
            found.append(Baseline("blind", label, blind.value, blind))
    return found
