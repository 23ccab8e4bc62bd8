"""The mean over several tests of what each found, with an interval from joint replicates.

Legend: T tests, M rows of a test, I interventions, R replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.statistics.clustered import Clusters, Drawn


@dataclass(frozen=True, eq=False)
class Test:
    """The rows of one test, such as a benchmark's questions.

    Attributes:
        above, below: (M, I), what each row adds to the numerator and to the denominator of what
            the test measures: sum of `above` / sum of `below`.
        labels: (M,), the cluster of each row: the id of its source picture.
    """

    __test__ = False  # no test in pytest's sense

    above: np.ndarray
    below: np.ndarray
    labels: Sequence[str]


def mean_over_tests(
    tests: Sequence[Test], *, replicates: int = 2000, level: float = 0.95, seed: int = 0
) -> Drawn:
    """Return the mean over tests of sum(above) / sum(below) under each intervention, (I,).

    Args:
        tests: at least one; all of the same interventions.
        replicates, level, seed: of the bootstrap.

    mean_i = (1 / T) sum_t r_ti with r_ti = sum_m above_tmi / sum_m below_tmi: every test counts
    alike, however many rows it has. A replicate draws the clusters of each test with replacement
    and is the mean of the T ratios so drawn. Tests that share no cluster are independent samples
    and are drawn apart, each from a seed of its own. Tests that share some, such as two benchmarks
    about the same pictures, are drawn as one, so that what they have in common is not taken for
    independent evidence. One draw serves all interventions: differences are paired.

    With a single test this is that test's own ratio, with the replicates that `Clusters` gives it.
    """
    parts = []
    for number, group in enumerate(_sharing(tests)):
        clusters = Clusters(
            [label for test in group for label in test.labels],
            replicates=replicates, level=level, seed=_seed(seed, number),
        )  # fmt: skip
        parts.append(clusters.of_sums(_apart(group), lambda s: (s[..., 0] / s[..., 1]).sum(axis=1)))
    value = np.sum([part.value for part in parts], axis=0) / len(tests)
    if any(len(part.replicates) == 0 for part in parts):  # a test of a single cluster
        return Drawn(value, np.empty((0, *value.shape)), level)
    drawn = np.sum([part.replicates for part in parts], axis=0) / len(tests)
    return Drawn(value, drawn, level)


def _apart(group: Sequence[Test]) -> np.ndarray:
    """(rows of all, T, I, 2): each test's rows add to that test alone."""
    rows, interventions = sum(len(test.labels) for test in group), group[0].above.shape[1]
    found = np.zeros((rows, len(group), interventions, 2))
    start = 0
    for number, test in enumerate(group):
        end = start + len(test.labels)
        found[start:end, number] = np.stack([test.above, test.below], axis=-1)
        start = end
    return found


def _sharing(tests: Sequence[Test]) -> list[list[Test]]:
    """Tests in groups: those that share a cluster, directly or through others, are together."""
    groups: list[tuple[set[str], list[Test]]] = []
    for test in tests:
        labels, members = set(test.labels), [test]
        apart = []
        for held, others in groups:
            if held & labels:
                labels, members = labels | held, others + members
            else:
                apart.append((held, others))
        groups = [*apart, (labels, members)]
    return [members for _, members in groups]


def _seed(seed: int, group: int) -> int:
    """The seed itself for the first group, others drawn from it for the rest."""
    if group == 0:
        return seed
    return int(np.random.SeedSequence([seed, group]).generate_state(1)[0])
