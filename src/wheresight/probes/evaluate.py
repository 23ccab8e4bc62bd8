"""Ask a model the questions of a benchmark under several interventions: one record a question.

Nothing is scored here: a record holds the log-probability of every option and, if it was asked for,
the raw generated text, so that every way of scoring can be made from it later (`scored`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from wheresight.interventions.spec import canonical, to_json
from wheresight.stimuli.benchmarks.question import Benchmark, Question, lettered

if TYPE_CHECKING:
    from wheresight.lvlm.option_scoring import OptionScores
    from wheresight.lvlm.scoring import Scorer

# Questions that are encoded together; their pictures are held in memory.
QUESTIONS_AT_ONCE = 192


class Evaluated(TypedDict):
    """One question under one intervention.

    Fields of the question are those of `Question`. `logp`, `mean_logp`, `ended` and `confidence`
    are those of `OptionScores`, of the options or, if `letters`, of their letters. `text` is what
    was generated, None if nothing was.
    """

    benchmark: str
    control: str
    question: str
    cluster: str
    category: str
    group: str
    group_size: int
    pair: str
    prompt: str
    letters: bool
    options: list[str]
    right: int
    present: float | None
    picture: str
    intervention: str
    intervention_json: str
    logp: list[float]
    mean_logp: list[float]
    ended: bool
    confidence: float
    text: str | None


def evaluate(
    scorer: Scorer,
    benchmark: Benchmark,
    interventions: Sequence[str],
    *,
    letters: bool = False,
    max_new_tokens: int = 0,
    control: str = "",
    advance: Callable[[int], None] | None = None,
) -> dict[str, list[Evaluated]]:
    """Ask every question under each intervention, picture by picture.

    A picture goes through the vision tower once for all its questions and all interventions, and
    interventions that change the last row of a prompt alone share one prefill. A record does not
    depend on which other interventions there are.

    Args:
        scorer: the model.
        benchmark: its questions, in the words in which they are to be asked.
        interventions: any specs; the same one twice counts once.
        letters: put a letter before each option, ask for the letter, and score letters.
        max_new_tokens: longest generated text; with 0 nothing is generated.
        control: what to call the control that the benchmark is under.
        advance: called with the number of questions just answered, once for each intervention.

    Raises:
        WheresightError: a picture that cannot be used, or what the model cannot do.
    """
    from wheresight.lvlm.encoding import Query
    from wheresight.lvlm.option_scoring import OptionScorer

    specs = list(dict.fromkeys(canonical(spec) for spec in interventions))
    found: dict[str, list[Evaluated]] = {spec: [] for spec in specs}
    options = OptionScorer(scorer)
    for some in shards(benchmark.questions()):
        asked = [lettered(q) for q in some] if letters else some
        queries = [
            Query(benchmark.picture(group[0]), tuple(q.text for q in group))
            for group in _by_picture(asked)
        ]
        encoded = scorer.encode(queries)
        wanted = [q.letters if letters else q.options for q in asked]
        scores = options.score_all(encoded, wanted, specs, advance=advance)
        for spec, own in zip(specs, scores, strict=True):
            texts: list[str | None] = [None] * len(asked)
            if max_new_tokens:
                answers = scorer.generate(encoded, spec, max_new_tokens=max_new_tokens)
                texts = [answer.text for answer in answers]
            found[spec] += [
                _record(benchmark.name, control, letters, q, spec, score, text)
                for q, score, text in zip(asked, own, texts, strict=True)
            ]
    return found


def trial(
    scorer: Scorer, benchmark: Benchmark, interventions: Sequence[str], *, letters: bool = False
) -> tuple[Callable[[int], None], int]:
    """What tries how fast questions go, for `lvlm.batch_size.find_batch_size`.

    Args:
        scorer: the model.
        benchmark: its first questions are asked, as `evaluate` asks them; nothing is generated.
        interventions, letters: as for `evaluate`.

    Returns:
        ask: puts about so many questions to the model, whole pictures.
        most: how many there are to ask.
    """
    from wheresight.lvlm.encoding import Query
    from wheresight.lvlm.option_scoring import OptionScorer

    some = next(shards(benchmark.questions()))
    asked = [lettered(q) for q in some] if letters else some
    groups = list(_by_picture(asked))
    encoded = scorer.encode(
        [Query(benchmark.picture(group[0]), tuple(q.text for q in group)) for group in groups]
    )
    wanted = [q.letters if letters else q.options for q in asked]
    ends = list(itertools.accumulate(len(group) for group in groups))
    options = OptionScorer(scorer)

    def ask(count: int) -> None:
        rows = next((end for end in ends if end >= count), ends[-1])
        options.score_all(replace(encoded, rows=encoded.rows[:rows]), wanted[:rows], interventions)

    return ask, ends[-1]


def _record(
    benchmark: str,
    control: str,
    letters: bool,
    question: Question,
    spec: str,
    score: OptionScores,
    text: str | None,
) -> Evaluated:
    return Evaluated(
        benchmark=benchmark,
        control=control,
        question=question.id,
        cluster=question.cluster,
        category=question.category,
        group=question.group,
        group_size=question.group_size,
        pair=question.pair,
        prompt=question.text,
        letters=letters,
        options=list(question.options),
        right=question.right,
        present=question.present,
        picture=question.picture,
        intervention=spec,
        intervention_json=json.dumps(to_json(spec)),
        logp=list(score.logp),
        mean_logp=list(score.mean_logp),
        ended=score.ended,
        confidence=score.confidence,
        text=text,
    )


def _by_picture(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Neighbours about the same picture together."""
    group: list[Question] = []
    for question in questions:
        if group and question.picture != group[0].picture:
            yield group
            group = []
        group.append(question)
    if group:
        yield group


def shards(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Some questions at a time; those about one picture are brought together and not parted."""
    order = {picture: n for n, picture in enumerate(dict.fromkeys(q.picture for q in questions))}
    held: list[Question] = []
    for group in _by_picture(sorted(questions, key=lambda q: order[q.picture])):
        if held and len(held) + len(group) > QUESTIONS_AT_ONCE:
            yield held
            held = []
        held = [*held, *group]
    if held:
        yield held
