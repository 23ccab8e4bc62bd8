"""Which questions the page of an evaluation shows: changed answers, and wrong ones.

Chosen by counting, never by looking, with ties broken by the question's id: the same records give
the same examples. No two are about one picture. The records are untrusted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wheresight.probes.evaluate import Evaluated


@dataclass(frozen=True)
class Reading:
    """What was picked under one intervention.

    Attributes:
        intervention: its spec.
        picked: the words of the likeliest option.
        share: of that option's probability in that of all options.
        right: whether it is the right one.
        text: what was generated; None if nothing was.
    """

    intervention: str
    picked: str
    share: float
    right: bool
    text: str | None


@dataclass(frozen=True)
class Example:
    """One question with its readings.

    Attributes:
        why: a sentence that says why it is shown.
        question: its id, which draws its picture too.
        prompt: what was put to the model.
        options: the possible answers.
        answer: the right one.
        readings: one for each intervention.
        before: for a question under a control, what was picked and right without it, under the
            first intervention; None elsewhere.
    """

    why: str
    question: str
    category: str
    prompt: str
    options: tuple[str, ...]
    answer: str
    readings: tuple[Reading, ...]
    before: tuple[Reading, str] | None = None


# A question's records under each intervention.
_Asked = Mapping[str, Evaluated]
_Ranked = Iterator[tuple[float, str, str]]  # least first: rank, question, why


def choose(
    by_intervention: Mapping[str, Sequence[Evaluated]],
    plain: Sequence[Evaluated] = (),
    each: int = 2,
) -> list[Example]:
    """Choose examples of one benchmark, at most `each` of a kind.

    Kinds: answers that another intervention changes, for the worse and for the better; under a
    control, answers that stayed though the right one changed; and wrong answers that the model is
    surest of, under all interventions.

    Args:
        by_intervention: records of one benchmark; the first intervention is the reference.
        plain: of the same benchmark without its control, under the first intervention.
        each: how many of a kind.
    """
    asked: dict[str, dict[str, Evaluated]] = {}
    for spec, records in by_intervention.items():
        for record in records:
            asked.setdefault(record["question"], {})[spec] = record
    specs = list(by_intervention)
    whole = {name: own for name, own in asked.items() if len(own) == len(specs)}
    before = {record["question"]: record for record in plain}
    chosen: dict[str, str] = {}
    pictures: set[str] = set()
    for ranked in (
        _changed(whole, specs, right_first=True),
        _changed(whole, specs, right_first=False),
        _stayed(whole, specs[0], before),
        _wrong(whole),
    ):
        taken = 0
        for _, name, why in sorted(ranked):
            picture = next(iter(whole[name].values()))["picture"]
            if taken < each and name not in chosen and picture not in pictures:
                chosen[name] = why
                pictures.add(picture)
                taken += 1
    return [_example(why, whole[name], before.get(name)) for name, why in chosen.items()]


def _changed(whole: Mapping[str, _Asked], specs: Sequence[str], right_first: bool) -> _Ranked:
    """Questions on which most others differ from the first intervention."""
    for name, own in whole.items():
        others = [spec for spec in specs[1:] if _right(own[spec]) != right_first]
        if _right(own[specs[0]]) == right_first and others:
            words = ("Right", "wrong") if right_first else ("Wrong", "right")
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            why = f"{words[0]} under {specs[0]}, {words[1]} under {others[0]}{more}."
            yield -len(others), name, why


def _stayed(whole: Mapping[str, _Asked], first: str, before: Mapping[str, Evaluated]) -> _Ranked:
    """Questions whose right answer changed under the control, and whose answer did not.

    Those that were right before come first.
    """
    for name, own in whole.items():
        after, earlier = own[first], before.get(name)
        if earlier is None:
            continue
        wanted = [r["options"][r["right"]] for r in (earlier, after)]
        same = earlier["options"][_picked(earlier)] == after["options"][_picked(after)]
        if wanted[0] != wanted[1] and same:
            why = "The right answer changed with the picture, and the model's did not."
            yield -_share(after) - _right(earlier), name, why


def _wrong(whole: Mapping[str, _Asked]) -> _Ranked:
    """Questions that are wrong under all interventions; the surest first."""
    for name, own in whole.items():
        if not any(_right(record) for record in own.values()):
            sure = sum(_share(record) for record in own.values())
            many = "every intervention" if len(own) > 1 else next(iter(own))
            yield -sure, name, f"Wrong under {many}, and surest of it."


def _example(why: str, own: _Asked, before: Evaluated | None) -> Example:
    first = next(iter(own.values()))
    return Example(
        why=why,
        question=first["question"],
        category=first["category"],
        prompt=first["prompt"],
        options=tuple(first["options"]),
        answer=first["options"][first["right"]],
        readings=tuple(_reading(record) for record in own.values()),
        before=None if before is None else (_reading(before), before["options"][before["right"]]),
    )


def _reading(record: Evaluated) -> Reading:
    return Reading(
        record["intervention"],
        record["options"][_picked(record)],
        _share(record),
        _right(record),
        record["text"],
    )


def _picked(record: Evaluated) -> int:
    """As the reader `logp` picks."""
    return record["logp"].index(max(record["logp"]))


def _right(record: Evaluated) -> bool:
    return _picked(record) == record["right"]


def _share(record: Evaluated) -> float:
    """How much of the options' probability is the likeliest one's."""
    most = max(record["logp"])
    return 1 / sum(math.exp(value - most) for value in record["logp"])
