"""The same questions before and after a control: do the answers go where the things went?

Accuracy under a control says whether the model still knows; it does not say of one question whether
its answer moved when the thing did. A model that answers by habit gives the same words before and
after, and is right once; one that looks gives the words that trade places with the things.

Legend: Q questions that were asked in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.probes.evaluate import Evaluated
from wheresight.probes.scored import Draw, answers
from wheresight.statistics.clustered import Clusters, Drawn


@dataclass(frozen=True, eq=False)
class Part:
    """A share of some of the questions.

    Attributes:
        share: of them; NaN where there are none, or where it cannot be said.
        clusters: source pictures that they are about.
    """

    share: Drawn
    clusters: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """What one reader makes of the same questions before and after a control.

    Answers are compared by their words, not by their places in the list of options.

    Attributes:
        questions: Q.
        clusters: source pictures that they are about.
        right_both, right_plain_only, right_control_only, wrong_both: of all Q; they add up to 1.
        answer_changes: number of questions whose right answer is a before and b, other words,
            after: mirrored left and right, things that traded places.
        followed: of these, answered a and then b, or b and then a. The second is wrong twice, but
            moved as the thing did: left and right confused, not unseen.
        stayed: of these, answered in the same words both times.
        otherwise: of these, the rest; an answer that names no option is here.
        answer_stays: number of the other questions.
        same: of these, answered in the same words both times.
        options_move: number of questions that list the same options, or these and more, in another
            order.
        same_place: of these, other words picked at the same place in the list.
    """

    questions: int
    clusters: int
    right_both: Part
    right_plain_only: Part
    right_control_only: Part
    wrong_both: Part
    answer_changes: int
    followed: Part
    stayed: Part
    otherwise: Part
    answer_stays: int
    same: Part
    options_move: int
    same_place: Part


def agreement(
    plain: Sequence[Evaluated],
    control: Sequence[Evaluated],
    reader: str,
    draw: Draw = Clusters,
) -> Agreement | None:
    """Compare the answers to the questions that are in both; None if there are none.

    Args:
        plain: records of a benchmark under one intervention.
        control: records of the same benchmark under a control, and the same intervention.
        reader: one of READERS. `published` says only right or wrong: shares of what was picked are
            NaN under it.
        draw: makes the clusters to draw from labels.
    """
    after = {record["question"]: record for record in control}
    before = [record for record in plain if record["question"] in after]
    if not before:
        return None
    both = before, [after[record["question"]] for record in before]
    labels = [record["cluster"] for record in before]
    clusters = draw(labels)

    def part(holds: np.ndarray, among: np.ndarray | None = None) -> Part:
        among = np.ones(len(before), dtype=bool) if among is None else among
        share = clusters.mean(np.where(among, holds.astype(np.float64), np.nan))
        return Part(share, len({label for label, own in zip(labels, among, strict=True) if own}))

    (picked_a, right_a), (picked_b, right_b) = (answers(some, reader) for some in both)
    wanted_a, wanted_b = (np.array([r["options"][r["right"]] for r in some]) for some in both)
    changes = wanted_a != wanted_b
    moved = np.array([_moved(a["options"], b["options"]) for a, b in zip(*both, strict=True)])
    if picked_a is None or picked_b is None:
        nothing = np.full(len(before), np.nan)
        followed = stayed = otherwise = same_place = nothing
    else:
        said_a, said_b = (
            _words(some, picked) for some, picked in zip(both, (picked_a, picked_b), strict=True)
        )
        stayed = (said_a == said_b) & (picked_a >= 0)
        followed = ((said_a == wanted_a) & (said_b == wanted_b)) | (
            (said_a == wanted_b) & (said_b == wanted_a)
        )
        otherwise = ~followed & ~stayed
        same_place = (picked_a == picked_b) & (picked_a >= 0) & ~stayed
    return Agreement(
        questions=len(before),
        clusters=clusters.count,
        right_both=part(right_a & right_b),
        right_plain_only=part(right_a & ~right_b),
        right_control_only=part(~right_a & right_b),
        wrong_both=part(~right_a & ~right_b),
        answer_changes=int(changes.sum()),
        followed=part(followed, changes),
        stayed=part(stayed, changes),
        otherwise=part(otherwise, changes),
        answer_stays=int((~changes).sum()),
        same=part(stayed, ~changes),
        options_move=int(moved.sum()),
        same_place=part(same_place, moved),
    )


def _moved(before: Sequence[str], after: Sequence[str]) -> bool:
    return list(before) != list(after) and set(before) <= set(after)


def _words(records: Sequence[Evaluated], picked: np.ndarray) -> np.ndarray:
    """(Q,), the words of the option that was picked; empty for none."""
    pairs = zip(records, picked, strict=True)
    return np.array([r["options"][n] if n >= 0 else "" for r, n in pairs])
