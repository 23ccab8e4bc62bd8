"""Score the records of a benchmark: every reader's accuracy with its interval, beside baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.errors import RunError, unknown_name
from wheresight.probes.evaluate import Evaluated
from wheresight.probes.text_answers import read, substring_published, yes_no_published
from wheresight.statistics.choices import by_category, chance_corrected, macro_accuracy, majority
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.sets import SetAccuracy, published_set_accuracy, set_accuracy
from wheresight.statistics.yes_no import YesNo, yes_no

Draw = Callable[[Sequence[str]], Clusters]

# By which option is picked: from log-probabilities, and from generated text.
BY_SCORE = ("logp", "mean_logp")
BY_TEXT = ("exact", "strict", "first", "last", "letter")
PUBLISHED = "published"
READERS = (*BY_SCORE, *BY_TEXT, PUBLISHED)


@dataclass(frozen=True, eq=False)
class Scored:
    """What one reader makes of one intervention's records.

    Attributes:
        reader: one of READERS.
        right: (Q,) bool, in the records' order.
        unread: share of answers that name no option.
        accuracy: share of right answers.
        macro: mean of the categories' accuracies.
        corrected: accuracy above guessing, 0 to 1.
        categories: accuracy in each.
        sets, pairs: over complete ones; None where the benchmark has none.
        published_sets, published_pairs: as the released code counts them
            (`statistics.sets.published_set_accuracy`); None where they cannot be counted so.
        yes_no: where all questions are of yes and no, and the reader picks options.
        clusters: how many source pictures there are.
    """

    reader: str
    right: np.ndarray
    unread: float
    accuracy: Drawn
    macro: Drawn
    corrected: Drawn
    categories: dict[str, Drawn]
    sets: SetAccuracy | None
    pairs: SetAccuracy | None
    published_sets: float | None
    published_pairs: float | None
    yes_no: YesNo | None
    clusters: int


@dataclass(frozen=True)
class Baselines:
    """What those reach who do not look, or do not see where.

    Attributes:
        chance: guessing among the options.
        majority: the most frequent right answer, always.
        majority_by_category: the same, knowing the category.
        present: guessing among the options that are in the picture; None where that is not known.
    """

    chance: float
    majority: float
    majority_by_category: float
    present: float | None


def score(records: Sequence[Evaluated], reader: str, draw: Draw = Clusters) -> Scored:
    """Score the records of one benchmark under one intervention by one reader.

    Args:
        records: in any order; the same for all interventions that are to be compared.
        reader: one of READERS. `published` is AdaptVis's: substrings, and for yes and no the words
            Yes and No as they are written.
        draw: makes the clusters to draw from labels. The same draw for two interventions makes the
            difference of their accuracies a paired one.

    Raises:
        RunError: an unknown reader, no records, or one that needs text where none was generated.
    """
    picked, right = answers(records, reader)
    labels = [r["cluster"] for r in records]
    clusters = draw(labels)
    categories = [r["category"] for r in records]
    chance = np.array([1 / len(r["options"]) for r in records])
    groups, pairs = [r["group"] for r in records], [r["pair"] for r in records]
    sizes = [r["group_size"] for r in records]
    return Scored(
        reader=reader,
        right=right,
        unread=float("nan") if picked is None else float(np.mean(picked < 0)),
        accuracy=clusters.mean(right),
        macro=macro_accuracy(right, categories, clusters),
        corrected=chance_corrected(right, chance, clusters),
        categories=by_category(right, categories, clusters),
        sets=set_accuracy(right, groups, sizes, labels, draw) if any(groups) else None,
        pairs=set_accuracy(right, pairs, 2, labels, draw) if any(pairs) else None,
        published_sets=_as_published(right, groups, sizes),
        published_pairs=_as_published(right, pairs, [2] * len(pairs)),
        yes_no=None if picked is None else _yes_no(records, picked, clusters),
        clusters=clusters.count,
    )


def answers(records: Sequence[Evaluated], reader: str) -> tuple[np.ndarray | None, np.ndarray]:
    """What a reader takes the answers for.

    Returns:
        picked: (Q,), the number of the option that each answer is taken for, -1 for none; None
            under `published`, which says only right or wrong.
        right: (Q,) bool.

    Raises:
        RunError: an unknown reader, no records, or one that needs text where none was generated.
    """
    _check(records, reader)
    if reader == PUBLISHED:
        return None, _published(records)
    picked = _picked(records, reader)
    return picked, picked == np.array([r["right"] for r in records])


def baselines(records: Sequence[Evaluated]) -> Baselines:
    """What the same questions give to those who do not look."""
    answers = [r["options"][r["right"]] for r in records]
    present = [r["present"] for r in records]
    known = [share for share in present if share is not None]
    return Baselines(
        chance=float(np.mean([1 / len(r["options"]) for r in records])),
        majority=float(np.mean(majority(answers))),
        majority_by_category=float(np.mean(majority(answers, [r["category"] for r in records]))),
        present=float(np.mean(known)) if len(known) == len(present) else None,
    )


def readers(records: Sequence[Evaluated]) -> tuple[str, ...]:
    """The readers that these records can be scored by."""
    if any(r["text"] is None for r in records):
        return BY_SCORE
    letters = any(r["letters"] for r in records)
    return (*BY_SCORE, "letter") if letters else tuple(n for n in READERS if n != "letter")


def _check(records: Sequence[Evaluated], reader: str) -> None:
    if reader not in READERS:
        raise RunError(unknown_name("reader", reader, READERS))
    if not records:
        raise RunError("No records were given to be scored. Expected those of one benchmark.")
    if reader not in BY_SCORE and any(r["text"] is None for r in records):
        raise RunError(
            f"The reader {reader!r} reads generated text, and there is none in the records. "
            "Evaluate with a number of new tokens, or score by logp."
        )


def _as_published(right: np.ndarray, groups: Sequence[str], sizes: Sequence[int]) -> float | None:
    """None unless every question is in a set, and all sets are of one size."""
    if not all(groups) or len(set(sizes)) != 1:
        return None
    return published_set_accuracy(right, groups, sizes[0])


def _picked(records: Sequence[Evaluated], reader: str) -> np.ndarray:
    """(Q,), the number of the option that each answer is taken for; -1 for none."""
    if reader in BY_SCORE:
        lists = [r["logp"] if reader == "logp" else r["mean_logp"] for r in records]
        return np.array([values.index(max(values)) for values in lists])
    found = [getattr(read(r["text"] or "", r["options"]), reader) for r in records]
    return np.array([-1 if number is None else number for number in found])


def _published(records: Sequence[Evaluated]) -> np.ndarray:
    found = []
    for r in records:
        text, right = r["text"] or "", r["options"][r["right"]]
        reads = yes_no_published if _is_yes_no(r) else substring_published
        found.append(reads(text, right))
    return np.array(found, dtype=bool)


def _is_yes_no(record: Evaluated) -> bool:
    return {option.casefold() for option in record["options"]} == {"yes", "no"}


def _yes_no(records: Sequence[Evaluated], picked: np.ndarray, clusters: Clusters) -> YesNo | None:
    if not all(_is_yes_no(r) for r in records):
        return None
    place = {"yes": [], "no": []}  # type: dict[str, list[int]]
    for r in records:
        words = [option.casefold() for option in r["options"]]
        for word, own in place.items():
            own.append(words.index(word))
    right = np.array([r["right"] for r in records])
    return yes_no(picked == place["yes"], picked == place["no"], right == place["yes"], clusters)
