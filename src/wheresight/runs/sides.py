"""What one probe or one benchmark says of each intervention, and the rows of its mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from wheresight.errors import RunError
from wheresight.probes.scored import Scored, baselines, readers, score
from wheresight.runs import results as grid_results
from wheresight.runs.comparable import BenchmarkRecords, ProbeRecords
from wheresight.runs.complete_items import complete_items
from wheresight.runs.evaluation import estimate, share
from wheresight.runs.places import open_place
from wheresight.runs.results import Estimate, Results
from wheresight.runs.summarise import summarise
from wheresight.runs.verdict import (
    BenchmarkNumbers,
    BenchmarkTest,
    Compared,
    Draws,
    ProbeNumbers,
    ProbeTest,
)
from wheresight.skeletons import CAUTION
from wheresight.statistics.bootstrap import exact_at_the_ends
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.macro import Test
from wheresight.statistics.measures import NO, YES


class ProbeSide:
    """One probe: its numbers, and whether each item is right at every place.

    Args:
        records: of the probe.
        specs: interventions, the reference first; the probe has all of them.
        draws: of the bootstrap.

    Attributes:
        test: what was measured.
        rows: items, with 1 where one is right at every place.

    Raises:
        RunError: a probe without negatives.
    """

    def __init__(self, records: ProbeRecords, specs: Sequence[str], draws: Draws) -> None:
        settings = records.settings
        if settings.get("protocol") != "balanced":
            raise RunError(
                f"{records.label} in {records.folders[0]!r} asked about pictures that are there "
                "alone (protocol paper), where a model that always says Yes looks perfect. Run the "
                "probe with --protocol balanced."
            )
        self.results = _results(records, specs, draws)
        self.label = records.label
        self._reference = specs[0]
        names = [result.intervention for result in self.results.interventions]
        shape = (settings["rows"], settings["columns"])
        data = complete_items(records.table, "balanced", names, shape)
        right = [strictly_right(data.codes[names.index(spec)], data.asked) for spec in specs]
        flags = np.stack(right, axis=1).astype(np.float64)
        keys = [data.keys[number] for number in data.clusters]
        self.rows = Test(flags, np.ones_like(flags), keys)
        self.test = ProbeTest(
            label=records.label,
            folders=list(records.folders),
            settings=settings,
            items=data.counts.items,
            items_left_out=data.counts.items_left_out,
            clusters=data.counts.clusters,
            cells=data.counts.cells,
        )

    def numbers(self, spec: str) -> ProbeNumbers:
        """What it says of one intervention."""
        result = self.results.intervention(spec)
        mine, other = result.overall, None
        if spec != self._reference:
            (other,) = (c.overall for c in self.results.comparisons if c.b == spec)

        def compared(path: str) -> Compared:
            read = attrgetter(path)
            return Compared(estimate=read(mine), difference=None if other is None else read(other))

        return ProbeNumbers(
            probe=self.label,
            strict_accuracy=compared("agreement.strict_accuracy"),
            flip_rate=compared("agreement.flip_rate"),
            delta=compared("spread.delta"),
            delta_debiased=compared("spread.delta_debiased"),
            balanced_delta_debiased=compared("balanced_spread.delta_debiased"),
            auc=compared("auc"),
            balanced_accuracy=compared("balanced_accuracy"),
            hit_rate=compared("hit_rate"),
            false_alarm_rate=compared("false_alarm_rate"),
            warnings=[text for text in result.warnings if text != CAUTION],
        )


def strictly_right(codes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return whether each item is right in every cell on every question that it asks, (M,) bool.

    Args:
        codes: NO, YES or NEITHER, (Q, M, C); the first question is the positive.
        asked: whether the item asks the question, (Q, M).
    """
    wanted = np.full((len(codes), 1, 1), NO)
    wanted[0] = YES
    found: np.ndarray = ((codes == wanted).all(axis=-1) | ~asked).all(axis=0)
    return found


def _results(records: ProbeRecords, specs: Sequence[str], draws: Draws) -> Results:
    """The numbers of a probe: results.json where it says what is asked, else from the records."""
    stored = _stored(records)
    if stored is not None:
        pairs = {(compared.a, compared.b) for compared in stored.comparisons}
        made = (stored.bootstrap.replicates, stored.bootstrap.seed, stored.bootstrap.level)
        if (
            {(specs[0], other) for other in specs[1:]} <= pairs
            and {result.intervention for result in stored.interventions} == {*records.interventions}
            and made == (draws.replicates, draws.seed, draws.level)
            and stored.counts.rows == records.table.num_rows
        ):
            return stored
    return summarise(
        records.table, configuration=records.settings, command=records.commands[0],
        interventions=specs, replicates=draws.replicates, seed=draws.seed, level=draws.level,
    )  # fmt: skip


def _stored(records: ProbeRecords) -> Results | None:
    if len(records.folders) > 1:
        return None
    try:
        data = open_place(records.folders[0]).read(grid_results.FILE_NAME)
        return Results.model_validate_json(data)
    except (FileNotFoundError, ValueError):  # records are the truth; the file is a short cut
        return None


class BenchmarkSide:
    """One benchmark: its numbers, and which answers are right.

    Args:
        records: of the benchmark.
        specs: interventions, the reference first; the benchmark has all of them.
        draws: of the bootstrap.
        reader: which way of reading answers.

    Attributes:
        test: what was measured.
        rows: questions, with right - chance over 1 - chance.

    Raises:
        RunError: answers that the reader cannot read.
    """

    def __init__(
        self, records: BenchmarkRecords, specs: Sequence[str], draws: Draws, reader: str
    ) -> None:
        first = records.answers[specs[0]]
        known = set.intersection(*(set(readers(records.answers[spec])) for spec in specs))
        if reader not in known:
            raise RunError(
                f"The reader {reader!r} cannot read the answers to {records.label}. It can "
                f"be read by {', '.join(n for n in readers(first) if n in known)}; other readers "
                "need `wheresight evaluate --max-new-tokens N`."
            )

        def draw(labels: Sequence[str]) -> Clusters:
            return Clusters(labels, replicates=draws.replicates, level=draws.level, seed=draws.seed)

        self._scored = [score(records.answers[spec], reader, draw) for spec in specs]
        base = baselines(first)
        chance = np.array([1 / len(record["options"]) for record in first])
        right = np.stack([scored.right for scored in self._scored], axis=1).astype(np.float64)
        self.rows = Test(
            right - chance[:, None],
            np.broadcast_to(1 - chance[:, None], right.shape),
            [record["cluster"] for record in first],
        )
        blank = records.blank
        asked = [record["question"] for record in first]
        whole = bool(blank) and [record["question"] for record in blank] == asked
        blind = score(blank, reader, draw) if whole else None
        self.label = records.label
        self._chance = base.chance
        self.test = BenchmarkTest(
            label=records.label,
            benchmark=records.name,
            letters=records.letters,
            folders=list(records.folders),
            questions=len(first),
            clusters=self._scored[0].clusters,
            chance=base.chance,
            majority=base.majority,
            blind=None if blind is None else float(blind.corrected.value),
            blind_under=None if blind is None else blank[0]["intervention"],
        )

    def numbers(self, n: int) -> BenchmarkNumbers:
        """What it says of the n-th intervention."""
        mine, first = self._scored[n], self._scored[0]

        def difference(mine: Drawn, first: Drawn) -> Estimate | None:
            return estimate(mine - first, (-math.inf, math.inf)) if n else None

        return BenchmarkNumbers(
            benchmark=self.label,
            accuracy=Compared(
                estimate=share(mine.accuracy, mine.clusters),
                difference=difference(mine.accuracy, first.accuracy),
            ),
            chance_corrected=Compared(
                estimate=self._corrected(mine),
                difference=difference(mine.corrected, first.corrected),
            ),
            unread=mine.unread if math.isfinite(mine.unread) else None,
        )

    def _corrected(self, scored: Scored) -> Estimate:
        """Chance-corrected accuracy; exact binomial limits where all answers are right, or none."""
        found = estimate(scored.corrected, (-math.inf, 1.0))
        value = scored.accuracy.value
        if found.value is None or found.low is None or found.high is None or 0 < value < 1:
            return found
        low, high = exact_at_the_ends(value, value, value, scored.clusters, scored.accuracy.level)
        low, high = ((end - self._chance) / (1 - self._chance) for end in (low, high))
        return Estimate.of(found.value, float(low), float(high))
