"""Which questions to choose settings on, and which to report: validation and test."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from wheresight.stimuli.benchmarks.question import Question


def adaptvis_split(count: int) -> tuple[list[int], list[int]]:
    """The split of AdaptVis's code (arXiv 2503.01773): numbers of the validation and test rows.

    A fifth of the rows, drawn by Python's generator from seed 1, in ascending order; the rest is
    the test part. It cuts pairs and sets in two, so use it only to compare with published numbers.
    """
    validation = sorted(random.Random(1).sample(range(count), int(0.2 * count)))
    chosen = set(validation)
    return validation, [number for number in range(count) if number not in chosen]


def unit(question: Question) -> str:
    """What must not be cut in two: a question's set, or else its picture."""
    return f"set {question.group}" if question.group else f"picture {question.cluster}"


def whole_units(questions: Sequence[Question], order: str) -> list[list[int]]:
    """Numbers of questions, whole sets and pictures together, in an order drawn from a text.

    The order is by hashes, so that it depends neither on how many there are nor on their order.
    """
    units: dict[str, list[int]] = {}
    for number, question in enumerate(questions):
        units.setdefault(unit(question), []).append(number)
    names = sorted(units, key=lambda name: hashlib.sha256(f"{order}\0{name}".encode()).digest())
    return [units[name] for name in names]


def split(
    questions: Sequence[Question], share: float = 0.2, seed: int = 1
) -> tuple[list[int], list[int]]:
    """Numbers of the validation and test questions; no set and no picture is in both.

    Args:
        questions: of one benchmark.
        share: of the questions that validation gets, at most; at least one unit goes to each part.
        seed: of the order.
    """
    units = whole_units(questions, f"split\0{seed}")
    validation: list[int] = []
    for numbers in units[:-1]:
        if validation and len(validation) + len(numbers) > share * len(questions):
            break
        validation += numbers
    chosen = set(validation)
    return sorted(validation), [n for n in range(len(questions)) if n not in chosen]


def sample(questions: Sequence[Question], count: int, seed: int = 0) -> list[int]:
    """Numbers of about `count` questions, never fewer if there are so many: whole units."""
    chosen: list[int] = []
    for numbers in whole_units(questions, f"sample\0{seed}"):
        if len(chosen) >= count:
            break
        chosen += numbers
    return sorted(chosen)
