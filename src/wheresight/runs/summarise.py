"""From the records of a grid run to results.json.

Only complete items count: every intervention must have answered every question that the item asks,
in every cell. So all interventions, cells and questions are compared on the same items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from wheresight.errors import RunError
from wheresight.runs import results as schema
from wheresight.runs.complete_items import complete_items
from wheresight.runs.reporting import Reporter
from wheresight.runs.results import Protocol, Results
from wheresight.skeletons import CAUTION, is_skeleton
from wheresight.statistics.bootstrap import ClusterBootstrap
from wheresight.statistics.measures import Measures

METHOD = (
    "percentile, moved by the bootstrap's own bias; exact binomial limit where a share is 0 or 1"
)


def check_bootstrap(replicates: int, level: float = 0.95) -> None:
    """Raise RunError unless a bootstrap can be made with these numbers."""
    if replicates < 100 or not 0 < level < 1:
        raise RunError(
            f"The bootstrap got {replicates} replicates and level {level}; it needs at least 100 "
            "replicates and a level between 0 and 1."
        )


def summarise(
    table: pa.Table,
    *,
    configuration: Mapping[str, Any],
    command: str,
    environment: schema.Environment | None = None,
    protocol: Protocol | None = None,
    interventions: Sequence[str] | None = None,
    comparisons: Sequence[tuple[str, str]] | None = None,
    grid: tuple[int, int] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Results:
    """Compute every number of a grid run from its records.

    Args:
        table: records, as wheresight.runs.records has them; the order of rows does not matter.
        configuration: the full configuration of the run, kept as it is. Its "protocol", "rows" and
            "columns" are used when protocol and grid are not given.
        command: the command or call that made the run.
        environment: versions, hardware, seeds; by default those of this process.
        protocol: paper leaves negatives out even if they were asked. By default that of the
            configuration, else balanced if there are negatives.
        interventions: those to count, in order; by default all, "none" first and the others
            by name. Items must be complete in these only.
        comparisons: pairs (a, b) to compare; by default each other intervention with the first.
        grid: rows and columns.
        replicates: bootstrap replicates, at least 100.
        seed: seed of the bootstrap.
        level: coverage of the intervals, such as 0.95.

    Raises:
        RunError: if records are missing, doubled or contradictory, or no item is complete.
    """
    check_bootstrap(replicates, level)
    shape = _grid(grid, configuration)
    data = complete_items(table, protocol or configuration.get("protocol"), interventions, shape)
    pairs = _pairs(comparisons, data.interventions)

    answers = [data.answers(number) for number in range(len(data.interventions))]
    observed = [a.measure() for a in answers]
    bootstrap = ClusterBootstrap(answers[0].cluster_count, replicates, seed)
    chunks: list[list[Measures]] = [[] for _ in answers]
    for weights in bootstrap.draws():
        for parts, one in zip(chunks, answers, strict=True):
            parts.append(one.measure(weights))
    drawn = [_join(parts) for parts in chunks]

    place = {name: i for i, name in enumerate(data.interventions)}
    first = (CAUTION,) if is_skeleton(str(configuration.get("model"))) else ()
    report = Reporter(data, answers[0], level, first)
    return Results(
        schema_version=1,
        protocol=data.protocol,
        command=command,
        configuration=dict(configuration),
        environment=environment or schema.Environment.capture(seeds={"bootstrap": seed}),
        bootstrap=schema.Bootstrap(
            replicates=replicates, seed=seed, level=level, cluster="key",
            clusters=bootstrap.clusters, method=METHOD,
        ),
        grid=schema.Grid(rows=shape[0], columns=shape[1]) if shape else None,
        counts=data.counts,
        interventions=[
            report.intervention(name, answers[i], observed[i], drawn[i], shape)
            for name, i in place.items()
        ],
        comparisons=[
            report.comparison(
                (a, b),
                (answers[place[a]], answers[place[b]]),
                (observed[place[a]], observed[place[b]]),
                (drawn[place[a]], drawn[place[b]]),
            )
            for a, b in pairs
        ],
    )  # fmt: skip


def _grid(grid: tuple[int, int] | None, configuration: Mapping[str, Any]) -> tuple[int, int] | None:
    if grid is not None:
        return grid
    rows, columns = configuration.get("rows"), configuration.get("columns")
    return (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else None


def _pairs(
    comparisons: Sequence[tuple[str, str]] | None, known: Sequence[str]
) -> list[tuple[str, str]]:
    if comparisons is None:
        return [(known[0], other) for other in known[1:]]
    for name in (name for pair in comparisons for name in pair):
        if name not in known:
            raise RunError(
                f"A comparison asks for intervention {name!r}, which is not in the records. "
                f"They have: {', '.join(map(repr, known))}."
            )
    return list(comparisons)


def _join(parts: Sequence[Measures]) -> Measures:
    def joined(dictionaries: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {
            name: np.concatenate([each[name] for each in dictionaries]) for name in dictionaries[0]
        }

    return Measures(
        joined([part.cells for part in parts]),
        joined([part.overall for part in parts]),
        np.concatenate([part.items for part in parts]),
    )
