"""Ask questions of composites while the model is read: what five diagnostics have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.probes.grid import Ask, Composite

if TYPE_CHECKING:
    from wheresight.lvlm.scoring import Answer
    from wheresight.probes.bench import Bench


@dataclass(frozen=True)
class Asked:
    """One question of one composite: what was answered, and what was read while it was.

    Attributes:
        composite: what was shown.
        ask: what was asked, and what is right.
        answer: what the model said.
        kept: what the reading kept of this prompt.
        ids: the prompt's tokens.
    """

    composite: Composite
    ask: Ask
    answer: Answer
    kept: Any
    ids: tuple[int, ...]

    @property
    def correct(self) -> bool:
        """True if the answer is right; one that is neither Yes nor No is not."""
        return self.answer.answer == ("yes" if self.ask.expected else "no")

    def place(self) -> dict[str, Any]:
        """What every record begins with."""
        return {
            "item": self.composite.item,
            "key": self.composite.key,
            "cell": self.composite.cell,
            "question": self.ask.question,
        }


def asked(
    bench: Bench,
    reading: str,
    kinds: Sequence[str],
    advance: Callable[[int], None],
    change: Callable[[Any], Any] | None = None,
    **options: Any,
) -> Iterator[Asked]:
    """Show the composites of each item, ask, and read; item by item, cell by cell.

    Args:
        bench: what to run on, and under which intervention.
        reading: name of the reading.
        kinds: which questions to ask (see `Bench.composites`).
        advance: called with the number of questions just answered.
        change: makes other prompts of the encoded ones.
        options: of the reading.
    """
    from wheresight.lvlm.read import read

    for item in bench.items:
        composites = bench.composites([item], kinds)
        encoded = bench.encode(composites)
        if change is not None:
            encoded = change(encoded)
        with read(bench.lvlm, reading, **options) as found:
            answers = bench.score.score(encoded, bench.spec)
        questions = [(composite, ask) for composite in composites for ask in composite.asks]
        rows = [row.ids for row in encoded.rows]
        for (composite, ask), answer, kept, ids in zip(
            questions, answers, found.prompts, rows, strict=True
        ):
            yield Asked(composite, ask, answer, kept, ids)
        advance(len(questions))


def questions_of(bench: Bench, kinds: Sequence[str]) -> int:
    """How many questions `asked` will ask."""
    composites = bench.composites(bench.items, kinds)
    return sum(len(composite.asks) for composite in composites)
