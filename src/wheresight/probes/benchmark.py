"""Questions about pictures with right answers, asked under several interventions at once.

A benchmark is a sequence of `Posed`: the grid probe's own questions (`probe_questions`), or those
of a labelled benchmark (`labelled_questions`). What is read of an answer: whether it is right, the
log-probability of the right choice, and how far the whole distribution has moved from that under a
reference.

Legend: Q questions, B rows of a batch, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.encoding import Encoded
    from wheresight.lvlm.option_scoring import OptionScorer
    from wheresight.lvlm.scoring import Scorer
    from wheresight.probes.bench import Bench
    from wheresight.stimuli.benchmarks.question import Benchmark, Box
    from wheresight.stimuli.items import Item

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Posed:
    """A question about a picture, and what is right.

    Attributes:
        id: of the example that it belongs to, such as an item.
        cluster: the source image, by which intervals are clustered.
        picture: draws the picture; called once.
        text: the question.
        right: one of the choices.
        choices: all answers that are possible.
        kind: of question, such as `positive`.
        cell: where the thing is, row-major from 0; -1 if that is not known.
        boxes: of the things asked about: left, top, right, bottom in pixels; empty if not known.
    """

    id: str
    cluster: str
    picture: Callable[[], Image.Image] = field(compare=False)
    text: str
    right: str
    choices: tuple[str, ...] = YES_NO
    kind: str = ""
    cell: int = -1
    boxes: tuple[Box, ...] = ()


def probe_questions(bench: Bench, items: Sequence[Item], kinds: Sequence[str]) -> list[Posed]:
    """The grid probe's questions of some items as a benchmark, item by item, cell by cell."""
    found = []
    for composite in bench.composites(items, kinds):
        picture = functools.partial(bench.picture, composite)  # one for all questions about it
        found += [
            Posed(
                id=composite.item,
                cluster=composite.key,
                picture=picture,
                text=bench.question(question.caption),
                right="yes" if question.expected else "no",
                kind=question.question,
                cell=composite.cell,
            )
            for question in composite.asks
        ]
    return found


def labelled_questions(benchmark: Benchmark) -> list[Posed]:
    """The questions of a labelled benchmark, those about one picture next to each other.

    Where a question asks for a letter (`wording=letters`), its choices are letters.
    """
    from wheresight.stimuli.benchmarks.question import lettered

    questions = benchmark.questions()
    first = {q.picture: q for q in reversed(questions)}
    order = {picture: n for n, picture in enumerate(dict.fromkeys(q.picture for q in questions))}
    # One for all questions about it.
    pictures = {name: functools.partial(benchmark.picture, q) for name, q in first.items()}
    found = []
    for question in sorted(questions, key=lambda q: order[q.picture]):
        by_letter = question.text == lettered(question).text
        choices = question.letters if by_letter else question.options
        found.append(
            Posed(
                id=question.id,
                cluster=question.cluster,
                picture=pictures[question.picture],
                text=question.text,
                right=choices[question.right],
                choices=choices,
                kind=question.category,
                boxes=question.boxes,
            )
        )
    return found


@dataclass(frozen=True)
class Answered:
    """Answers of Q questions under one condition, in their order.

    Attributes:
        right: (Q,) bool, whether the likeliest first token spells the right choice, or, of whole
            options, whether the right one is the likeliest.
        logp: (Q,), log-probability of all spellings of the right choice together, nats.
        kl: (Q,), KL(reference || this) of the next-token distributions, nats; 0 for the reference.
        picked: (Q,), number of the likeliest choice among the question's choices.
    """

    right: np.ndarray
    logp: np.ndarray
    kl: np.ndarray
    picked: np.ndarray


def ask(
    scorer: Scorer,
    posed: Sequence[Posed],
    conditions: Mapping[str, str],
    *,
    options: bool = False,
    blank: bool = False,
    background: str = "white",
    advance: Callable[[int], None] | None = None,
) -> dict[str, Answered]:
    """Ask every question under each condition; each picture goes through the tower once.

    Args:
        scorer: the model.
        posed: the questions; two of one picture follow each other.
        conditions: name to spec; the first is the reference of `kl`.
        options: compare whole choices of any number of tokens with each other (`OptionScorer`),
            as benchmarks are scored. Else each is one token, and any other token is a wrong answer.
        blank: show an empty canvas of the picture's size instead.
        background: its colour.
        advance: called with the number of answers just read.

    Raises:
        ModelError: a choice that is not one token where it must be, or an intervention that the
            model cannot do.
    """
    import torch

    from wheresight.lvlm.answers import choice_tokens
    from wheresight.lvlm.distributions import Distributions
    from wheresight.lvlm.encoding import Query
    from wheresight.lvlm.option_scoring import OptionScorer

    sets = {p.choices for p in posed}
    scores_options = OptionScorer(scorer) if options else None
    tokens: dict[tuple[str, ...], dict[str, tuple[int, ...]] | None]
    if scores_options is None:
        tokens = {choices: choice_tokens(scorer.tokenizer, choices) for choices in sets}
    else:
        tokens = {choices: scores_options.single_tokens(choices) for choices in sets}
    blankly = np.zeros(len(posed))
    found = {
        name: Answered(blankly > 0, blankly.copy(), blankly.copy(), np.zeros(len(posed), np.int64))
        for name in conditions
    }
    with torch.inference_mode():
        for start, some in chunks(posed, 4 * scorer.batch_size):
            queries = []
            for group in by_picture(some):
                picture = group[0].picture()
                if blank:
                    picture = Image.new("RGB", picture.size, background)
                queries.append(Query(picture, tuple(p.text for p in group)))
            encoded = scorer.encode(queries)
            long = [n for n, p in enumerate(some) if tokens[p.choices] is None]
            if scores_options is not None and long:
                _score_long(scores_options, encoded, some, long, conditions, found, start)
            distributions = Distributions(scorer, encoded)
            for batch in distributions.batches():
                reference: torch.Tensor | None = None
                for name, spec in conditions.items():
                    logits = distributions.logits(batch, spec)
                    logs = logits.double().log_softmax(-1)
                    reference = logs if reference is None else reference
                    divergence = _kl(reference, logs).cpu().numpy()
                    best = logs.argmax(-1).tolist()
                    for n, number in enumerate(batch):
                        own, into = tokens[some[number].choices], start + number
                        held = found[name]
                        held.kl[into] = divergence[n]
                        if own is None:
                            continue  # scored above
                        scores = [float(logs[n, list(ids)].logsumexp(-1)) for ids in own.values()]
                        right = list(own).index(some[number].right)
                        held.logp[into] = scores[right]
                        held.picked[into] = int(np.argmax(scores))
                        spelt = best[n] in own[some[number].right]
                        held.right[into] = held.picked[into] == right if options else spelt
                    if advance is not None:
                        advance(len(batch))
    return found


def _score_long(
    scores_options: OptionScorer,
    encoded: Encoded,
    some: Sequence[Posed],
    long: Sequence[int],
    conditions: Mapping[str, str],
    found: Mapping[str, Answered],
    start: int,
) -> None:
    """Score the questions whose choices have more than one token, and write down what was found.

    Args:
        scores_options: of the model.
        encoded: all questions of a chunk.
        some: these questions.
        long: numbers of those to score.
        conditions: name to spec.
        found: to write to, by name; the chunk's first question is number `start` there.
    """
    part = replace(encoded, rows=tuple(encoded.rows[n] for n in long))
    choices = [some[n].choices for n in long]
    scores = scores_options.score_all(part, choices, list(conditions.values()))
    for name, own in zip(conditions, scores, strict=True):
        held = found[name]
        for n, score in zip(long, own, strict=True):
            right = some[n].choices.index(some[n].right)
            held.logp[start + n] = score.logp[right]
            held.picked[start + n] = score.picked
            held.right[start + n] = score.picked == right


def chance(posed: Sequence[Posed]) -> float:
    """The accuracy of guessing among the choices."""
    return float(np.mean([1 / len(p.choices) for p in posed]))


def _kl(reference: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(reference || other) of log-probabilities (B, V), (B,) nats; at least 0."""
    import torch

    # A word of no probability adds nothing, whatever the other thinks of it.
    terms = torch.where(reference > -torch.inf, reference.exp() * (reference - other), 0.0)
    return terms.sum(-1).clamp_min(0.0)


def by_picture(posed: Sequence[Posed]) -> Iterator[list[Posed]]:
    """Neighbours that show the same picture, in groups."""
    start = 0
    for n in range(1, len(posed) + 1):
        if n == len(posed) or posed[n].picture is not posed[start].picture:
            yield list(posed[start:n])
            start = n


def chunks(posed: Sequence[Posed], most: int) -> Iterator[tuple[int, list[Posed]]]:
    """So many questions at a time, so that few pictures are held, with the number of the first.

    Those about one picture are not parted, even if they are more.
    """
    held: list[Posed] = []
    first = 0
    for group in by_picture(posed):
        if held and len(held) + len(group) > most:
            yield first, held
            first, held = first + len(held), []
        held = [*held, *group]
    if held:
        yield first, held
