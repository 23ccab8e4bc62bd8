"""Ask questions while the model is read: what five diagnostics have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.probes.grid import Ask, Composite

if TYPE_CHECKING:
    from wheresight.lvlm.option_scoring import OptionScores
    from wheresight.lvlm.scoring import Answer
    from wheresight.probes.bench import Bench
    from wheresight.probes.benchmark import Posed


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


@dataclass(frozen=True)
class AskedOptions:
    """One question of a labelled benchmark: what was found likely, and what was read meanwhile.

    Attributes:
        posed: the question.
        scores: of its choices.
        kept: what the reading kept of this prompt.
        size: width and height of the picture, pixels.
    """

    posed: Posed
    scores: OptionScores
    kept: Any
    size: tuple[int, int]

    @property
    def correct(self) -> bool:
        """True if the right choice is the likeliest."""
        return self.posed.choices[self.scores.picked] == self.posed.right

    @property
    def margin(self) -> float:
        """log P(right choice) - log P(likeliest other one), nats."""
        right = self.posed.choices.index(self.posed.right)
        others = [logp for n, logp in enumerate(self.scores.logp) if n != right]
        return self.scores.logp[right] - max(others)

    def place(self) -> dict[str, Any]:
        """What every record begins with."""
        return {
            "item": self.posed.id,
            "key": self.posed.cluster,
            "cell": self.posed.cell,
            "question": self.posed.kind,
        }


def asked_options(
    bench: Bench,
    reading: str,
    posed: Sequence[Posed],
    advance: Callable[[int], None],
    **options: Any,
) -> Iterator[AskedOptions]:
    """Ask the questions of a benchmark, and read; in their order.

    Args:
        bench: what to run on, and under which intervention.
        reading: name of the reading.
        posed: the questions; those about one picture follow each other.
        advance: called with the number of questions just answered.
        options: of the reading.
    """
    from wheresight.lvlm.encoding import Query
    from wheresight.lvlm.option_scoring import OptionScorer
    from wheresight.lvlm.read import read
    from wheresight.probes.benchmark import by_picture, chunks

    scorer = OptionScorer(bench.score)
    for _, some in chunks(posed, bench.score.batch_size):
        queries = [
            Query(group[0].picture(), tuple(p.text for p in group)) for group in by_picture(some)
        ]
        encoded = bench.score.encode(queries)
        with read(bench.lvlm, reading, **options) as found:
            (scores,) = scorer.score_all(encoded, [p.choices for p in some], [bench.spec])
        for p, score, kept, row in zip(some, scores, found.prompts, encoded.rows, strict=True):
            yield AskedOptions(p, score, kept, encoded.sizes[row.picture])
        advance(len(some))
