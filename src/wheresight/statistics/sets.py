"""Accuracy of pairs and sets of questions, which are right if all their questions are.

A set is one picture's things in all relations (WhatsUp, arXiv 2310.19785), so that an answer which
does not depend on the picture gets no set right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.statistics.clustered import Clusters, Drawn


@dataclass(frozen=True, eq=False)
class SetAccuracy:
    """Accuracy over complete sets.

    Attributes:
        share: of complete sets that are all right; NaN where there are none.
        complete: how many sets there are with all their questions.
        incomplete: how many have too few or too many; they are left out.
        clusters: clusters that the complete ones are in.
    """

    share: Drawn
    complete: int
    incomplete: int
    clusters: int


def set_accuracy(
    right: np.ndarray,
    groups: Sequence[str],
    sizes: Sequence[int] | int,
    labels: Sequence[str],
    draw: Callable[[Sequence[str]], Clusters] = Clusters,
) -> SetAccuracy:
    """Share of complete sets in which every question is right.

    Args:
        right: (Q,) bool.
        groups: the set of each question; empty for none.
        sizes: how many questions the set of each question has when it is whole; 2 for pairs.
        labels: (Q,), the cluster of each question; a set is in the cluster of its first.
        draw: makes the clusters to draw from labels.
    """
    wanted = [sizes] * len(groups) if isinstance(sizes, int) else list(sizes)
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        if group:
            members.setdefault(group, []).append(number)
    whole = [found for found in members.values() if len(found) == wanted[found[0]]]
    incomplete = len(members) - len(whole)
    right = np.asarray(right, dtype=bool)
    if not whole:
        nothing = Drawn(np.array(np.nan), np.empty((0,)))
        return SetAccuracy(nothing, 0, incomplete, 0)
    clusters = draw([labels[found[0]] for found in whole])
    all_right = np.array([right[found].all() for found in whole])
    return SetAccuracy(clusters.mean(all_right), len(whole), incomplete, clusters.count)


def published_set_accuracy(right: np.ndarray, groups: Sequence[str], size: int) -> float:
    """Sets with all right over (questions asked / size), as the released code counts.

    It divides by as many sets as the questions asked would make (AdaptVis, arXiv 2503.01773). Where
    only a part of a benchmark was asked and sets were cut, these count as wrong, and the highest
    possible number is below 1: on the published test parts of WhatsUp about 0.8 for pairs and 0.5
    to 0.6 for sets.

    Args:
        right: (Q,) bool, of the questions that were asked.
        groups: the set of each question; empty for none.
        size: questions in a set.
    """
    count: dict[str, int] = {}
    for group, hit in zip(groups, right, strict=True):
        if group:
            count[group] = count.get(group, 0) + bool(hit)
    return sum(hits == size for hits in count.values()) / (len(right) / size)
