"""A question about a picture with a few possible answers, and the protocol of a set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from PIL import Image

from wheresight.errors import StimulusError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one picture, with its options and the right one among them.

    Attributes:
        id: unique within its benchmark, stable between runs.
        picture: what the benchmark draws the picture from: the JSON of a recipe, or a file's name.
        cluster: the source picture; intervals are clustered by it.
        stem: the question alone, such as `Where is the mug?`.
        text: what is put to the model: the stem, and how to answer.
        options: the possible answers, all different (case apart), at least two.
        right: number of the right option.
        category: a part of the benchmark that is reported on its own.
        group: the set of questions that count as one in set accuracy; empty for none.
        group_size: how many questions a whole set has; 0 where there are no sets.
        pair: two questions with the same pair count as one in pair accuracy; empty for none.
        present: accuracy of one who sees what is in the picture but not where, and who guesses
            among the options that are in it; None where that is not known.
        boxes: of the things that matter: left, top, right, bottom in pixels.
        box_labels: what is in each box, for people; empty if that is not known.

    Raises:
        StimulusError: on construction, if the parts do not fit together.
    """

    id: str
    picture: str
    cluster: str
    stem: str
    text: str
    options: tuple[str, ...]
    right: int
    category: str = ""
    group: str = ""
    group_size: int = 0
    pair: str = ""
    present: float | None = None
    boxes: tuple[Box, ...] = ()
    box_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = {option.strip().casefold() for option in self.options}
        if len(self.options) < 2 or len(kinds) < len(self.options) or "" in kinds:
            raise StimulusError(
                f"The question {self.id!r} has the options {list(self.options)}. Expected at least "
                "two, none empty, all different (upper and lower case are the same)."
            )
        if len(self.options) > len(LETTERS):
            raise StimulusError(
                f"The question {self.id!r} has {len(self.options)} options. Expected at most "
                f"{len(LETTERS)}, a letter each."
            )
        if not 0 <= self.right < len(self.options):
            raise StimulusError(
                f"The right option of the question {self.id!r} is number {self.right}. Expected 0 "
                f"to {len(self.options) - 1}."
            )

        if self.box_labels and len(self.box_labels) != len(self.boxes):
            raise StimulusError(
                f"The question {self.id!r} has {len(self.boxes)} boxes and "
                f"{len(self.box_labels)} labels of boxes. Expected a label for each box, or none."
            )

    @property
    def answer(self) -> str:
        """The right option's words."""
        return self.options[self.right]

    @property
    def chance(self) -> float:
        """Accuracy of guessing among the options."""
        return 1 / len(self.options)

    @property
    def letters(self) -> tuple[str, ...]:
        """The letter of each option: A, B, ..."""
        return tuple(LETTERS[: len(self.options)])


class Benchmark(Protocol):
    """A set of questions, and their pictures.

    Attributes:
        name: the spec that opens it again, such as `2ds#images=100`.
        fingerprint: a hash of all that decides its questions (of pictures in files, their names).
    """

    name: str
    fingerprint: str

    def questions(self) -> Sequence[Question]:
        """All questions, in an order that does not change."""
        ...

    def picture(self, question: Question) -> Image.Image:
        """The picture of a question, RGB.

        Raises:
            StimulusError: if it is not there, or cannot be used.
        """
        ...


def listed(options: Sequence[str]) -> str:
    """Options as a list in a sentence.

    >>> listed(["left", "right", "on", "under"])
    'left, right, on or under'
    """
    return f"{', '.join(options[:-1])} or {options[-1]}"


def answer_with(options: Sequence[str]) -> str:
    """The sentence that names the options, as AdaptVis's prompts do (arXiv 2503.01773)."""
    return f"Answer with {listed(options)}."


def lettered(question: Question) -> Question:
    """The same question with its options behind letters, to be answered with a letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(
        question.letters, question.options, strict=True
    )]  # fmt: skip
    text = "\n".join([question.stem, *lines, "Answer with the letter of the right option."])
    return replace(question, text=text)


def bare(question: Question) -> Question:
    """The same question without a word on how to answer."""
    return replace(question, text=question.stem)


def check_questions(questions: Sequence[Question], name: str) -> tuple[Question, ...]:
    """Return the questions of a benchmark, after their ids were looked at.

    Raises:
        StimulusError: if there are none, or two share an id.
    """
    if not questions:
        raise StimulusError(f"The benchmark {name!r} has no questions. Expected at least one.")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise StimulusError(
                f"Two questions of the benchmark {name!r} have the id {question.id!r}. Ids must "
                "differ."
            )
        seen.add(question.id)
    return tuple(questions)
