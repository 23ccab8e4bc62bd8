"""A benchmark whose questions are known and whose pictures are files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image

from wheresight.stimuli.benchmarks.files import digest
from wheresight.stimuli.benchmarks.question import Question, check_questions


def fingerprint(questions: Sequence[Question]) -> str:
    """A hash of all that questions say; of pictures in files it holds the names alone."""
    return digest(
        *(
            "\n".join((q.id, q.picture, q.text, *q.options, str(q.right), q.category, q.group))
            for q in questions
        )
    )


class Labelled:
    """Questions in memory, pictures by name.

    Args:
        name: the spec that opens it again.
        questions: all of them.
        read: gives the picture of a question by its `picture`.
    """

    def __init__(
        self, name: str, questions: Sequence[Question], read: Callable[[str], Image.Image]
    ) -> None:
        self.name = name
        self._questions = check_questions(questions, name)
        self._read = read
        self.fingerprint = fingerprint(self._questions)

    def questions(self) -> Sequence[Question]:
        """All questions, in the order of their file."""
        return self._questions

    def picture(self, question: Question) -> Image.Image:
        """Read the picture of a question."""
        return self._read(question.picture)
