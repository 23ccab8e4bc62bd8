"""Questions about pictures with right answers, asked under several interventions at once.

A benchmark is a sequence of `Posed`; the grid probe's own questions are one (`probe_questions`).
What is read of an answer: whether it is right, the log-probability of the right choice, and how far
the whole distribution has moved from that under a reference.

Legend: Q questions, B rows of a batch, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.scoring import Scorer
    from wheresight.probes.bench import Bench
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
        choices: all answers that are possible, one token each.
        kind: of question, such as `positive`.
        cell: where the thing is, row-major from 0; -1 if that is not known.
    """

    id: str
    cluster: str
    picture: Callable[[], Image.Image] = field(compare=False)
    text: str
    right: str
    choices: tuple[str, ...] = YES_NO
    kind: str = ""
    cell: int = -1


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


@dataclass(frozen=True)
class Answered:
    """Answers of Q questions under one condition, in their order.

    Attributes:
        right: (Q,) bool, whether the likeliest first token spells the right choice.
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
    blank: bool = False,
    background: str = "white",
    advance: Callable[[int], None] | None = None,
) -> dict[str, Answered]:
    """Ask every question under each condition; each picture goes through the tower once.

    Args:
        scorer: the model.
        posed: the questions; two of one picture follow each other.
        conditions: name to spec; the first is the reference of `kl`.
        blank: show an empty canvas of the picture's size instead.
        background: its colour.
        advance: called with the number of answers just read.

    Raises:
        ModelError: a choice that is not one token, or an intervention that the model cannot do.
    """
    import torch

    from wheresight.lvlm.answers import choice_tokens
    from wheresight.lvlm.distributions import Distributions
    from wheresight.lvlm.encoding import Query

    sets = {p.choices for p in posed}
    tokens = {choices: choice_tokens(scorer.tokenizer, choices) for choices in sets}
    blankly = np.zeros(len(posed))
    found = {
        name: Answered(blankly > 0, blankly.copy(), blankly.copy(), np.zeros(len(posed), np.int64))
        for name in conditions
    }
    with torch.inference_mode():
        for start, some in _chunks(posed, scorer.batch_size):
            queries = []
            for _, group in _by_picture(some):
                picture = group[0].picture()
                if blank:
                    picture = Image.new("RGB", picture.size, background)
                queries.append(Query(picture, tuple(p.text for p in group)))
            distributions = Distributions(scorer, scorer.encode(queries))
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
                        scores = [float(logs[n, list(ids)].logsumexp(-1)) for ids in own.values()]
                        right = list(own).index(some[number].right)
                        held = found[name]
                        held.right[into] = best[n] in own[some[number].right]
                        held.logp[into] = scores[right]
                        held.kl[into] = divergence[n]
                        held.picked[into] = int(np.argmax(scores))
                    if advance is not None:
                        advance(len(batch))
    return found


def chance(posed: Sequence[Posed]) -> float:
    """The accuracy of guessing among the choices."""
    return float(np.mean([1 / len(p.choices) for p in posed]))


def _kl(reference: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(reference || other) of log-probabilities (B, V), (B,) nats; at least 0."""
    import torch

    # A word of no probability adds nothing, whatever the other thinks of it.
    terms = torch.where(reference > -torch.inf, reference.exp() * (reference - other), 0.0)
    return terms.sum(-1).clamp_min(0.0)


def _by_picture(posed: Sequence[Posed]) -> Iterator[tuple[int, list[Posed]]]:
    """Neighbours that show the same picture, in groups, with the number of the first."""
    start = 0
    for n in range(1, len(posed) + 1):
        if n == len(posed) or posed[n].picture is not posed[start].picture:
            yield start, list(posed[start:n])
            start = n


def _chunks(posed: Sequence[Posed], size: int) -> Iterator[tuple[int, list[Posed]]]:
    """Some hundred questions at a time, so that few pictures are held; none is cut in two."""
    held: list[Posed] = []
    first = 0
    for start, group in _by_picture(posed):
        if held and len(held) + len(group) > 4 * size:
            yield first, held
            held, first = [], start
        held = [*held, *group]
    if held:
        yield first, held
