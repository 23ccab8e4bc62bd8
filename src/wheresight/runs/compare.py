"""Robustness and awareness of every intervention of one model, side by side, from records.

DIR/compare.json      every number with its interval, standing on the plane, verdict in words
DIR/compare.html      the page
DIR/plane.png, .svg   the plane: right at every place against knowing where
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wheresight.errors import RunError
from wheresight.interventions.spec import canonical
from wheresight.report.verdict import words
from wheresight.runs.comparable import Comparable, open_folders
from wheresight.runs.evaluation import estimate
from wheresight.runs.places import open_place
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.results import Estimate
from wheresight.runs.sides import BenchmarkSide, ProbeSide
from wheresight.runs.summarise import METHOD, check_bootstrap
from wheresight.runs.verdict import (
    FILE_NAME,
    RESOLUTION,
    BenchmarkNumbers,
    Compared,
    Draws,
    LeftOut,
    Missing,
    Multiplicity,
    Placed,
    ProbeNumbers,
    Standing,
    Verdict,
    direction,
    read_from,
    written,
)
from wheresight.skeletons import CAUTION, is_skeleton
from wheresight.statistics.clustered import Drawn
from wheresight.statistics.macro import mean_over_tests
from wheresight.statistics.pareto import dominates, front, settled

LEVEL = 0.95
_COMBINED = (
    "means over tests from joint replicates: tests that share source pictures are drawn together, "
    "others apart"
)
_SIGNED = (-math.inf, math.inf)


@dataclass(frozen=True)
class CompareRequest:
    """What `wheresight compare` is asked for.

    Attributes:
        folders: that probes and evaluations wrote, at least one of each.
        out: folder or URL.
        reference: spec that differences are to; by default none, or the first that all have.
        reader: which way of reading answers accuracies are by.
        replicates, seed: of the bootstrap.
    """

    folders: tuple[str, ...]
    out: str = "wheresight-compare"
    reference: str | None = None
    reader: str = "logp"
    replicates: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class CompareOutcome:
    """What was found, and the addresses of the folder and the page."""

    verdict: Verdict
    folder: str
    page: str


def run_compare(
    request: CompareRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> CompareOutcome:
    """Compare, and write compare.json, compare.html and the plane.

    Raises:
        WheresightError: what was given, what was expected, what to do.
    """
    from wheresight.report.verdict.page import PAGE, write_page

    progress = progress or Silent()
    check_bootstrap(request.replicates)
    place = open_place(request.out)
    place.refuse_file()
    held = [name for name in place.names() if not name.startswith(".")]
    if held and FILE_NAME not in held:
        raise RunError(
            f"The output folder {place.name!r} is not empty and holds no comparison of wheresight. "
            "Choose an empty or new folder for --out."
        )
    found = open_folders(request.folders, progress.say)
    said = shlex.join(command) if command else repr(request)
    verdict = compare(found, request, command=said, progress=progress)
    progress.say("Drawing the plane")
    place.write(FILE_NAME, written(verdict))
    write_page(place, verdict)
    return CompareOutcome(verdict, place.name, place.uri(PAGE))


def redraw(where: str) -> tuple[Verdict, str]:
    """Make the page and the plane of a comparison again from its compare.json.

    Returns the numbers and the page's address. For new numbers compare the folders again.
    """
    from wheresight.report.verdict.page import PAGE, write_page

    place = open_place(where)
    verdict = read_from(place)
    write_page(place, verdict)
    return verdict, place.uri(PAGE)


def compare(
    found: Comparable,
    request: CompareRequest,
    *,
    command: str = "",
    progress: Progress | None = None,
) -> Verdict:
    """Put both sides of every intervention together.

    Args:
        found: the records.
        request: reference, reader and bootstrap are read from it.
        command: the command or call that is told of.
        progress: is told each step.

    Raises:
        RunError: no intervention that all have, an unknown reference, a probe without negatives,
            or answers that the reader cannot read.
    """
    progress = progress or Silent()
    common, missing = _common(found)
    reference = _reference(request.reference, common, found)
    specs = (reference, *(spec for spec in common if spec != reference))
    progress.say("Computing intervals")
    draws = Draws(
        replicates=request.replicates, seed=request.seed, level=LEVEL,
        method=f"{METHOD}; {_COMBINED}",
    )  # fmt: skip
    probes, benchmarks = [], []
    progress.start(len(found.tests()), 0, "tests")
    try:
        for probe in found.probes:
            probes.append(ProbeSide(probe, specs, draws))
            progress.advance(1)
        for benchmark in found.benchmarks:
            benchmarks.append(BenchmarkSide(benchmark, specs, draws, request.reader))
            progress.advance(1)
    finally:
        progress.stop()
    robustness, awareness = _Axis(probes, draws), _Axis(benchmarks, draws)
    standings = _standings(specs, robustness.drawn, awareness.drawn)
    placed = []
    for n, spec in enumerate(specs):
        of_probes = [probe.numbers(spec) for probe in probes]
        of_benchmarks = [benchmark.numbers(n) for benchmark in benchmarks]
        placed.append(
            Placed(
                intervention=spec,
                robustness=robustness.compared(n, of_probes[0].strict_accuracy),
                awareness=awareness.compared(n, of_benchmarks[0].chance_corrected),
                standing=standings[n],
                probes=of_probes,
                benchmarks=of_benchmarks,
                verdict="",
                sentence="",
            )
        )
    verdict = Verdict(
        schema_version=1,
        command=command,
        model=found.model,
        reference=reference,
        reader=request.reader,
        bootstrap=draws,
        probes=[probe.test for probe in probes],
        benchmarks=[benchmark.test for benchmark in benchmarks],
        interventions=placed,
        missing=missing,
        left_out=[LeftOut(benchmark=b, folder=f, reason=r) for b, f, r in found.left_out],
        multiplicity=_multiplicity(placed),
        cautions=[CAUTION] if is_skeleton(str(found.model["model"])) else [],
    )
    return words.said(verdict)


def _common(found: Comparable) -> tuple[list[str], list[Missing]]:
    tests = found.tests()
    common, missing = [], []
    for spec in found.interventions:
        lacks = [label for label, specs in tests.items() if spec not in specs]
        if lacks:
            missing.append(Missing(intervention=spec, lacks=lacks))
        else:
            common.append(spec)
    if not common:
        held = "; ".join(f"{label}: {', '.join(specs)}" for label, specs in tests.items())
        raise RunError(
            f"No intervention was measured by every probe and benchmark ({held}). Run `wheresight "
            "probe` and `wheresight evaluate` with the same interventions."
        )
    return common, missing


def _reference(given: str | None, common: Sequence[str], found: Comparable) -> str:
    if given is None:
        return "none" if "none" in common else common[0]
    spec = given if given in common else canonical(given)
    if spec not in common:
        lacks = [label for label, specs in found.tests().items() if spec not in specs]
        raise RunError(
            f"The reference {spec!r} was not measured by {', '.join(lacks)}. Expected one of "
            f"{', '.join(common)}."
        )
    return spec


# ---- the plane --------------------------------------------------------------------------------


class _Axis:
    """The mean over tests, and its replicates."""

    def __init__(self, tests: Sequence[ProbeSide] | Sequence[BenchmarkSide], draws: Draws) -> None:
        self.drawn = mean_over_tests(
            [test.rows for test in tests],
            replicates=draws.replicates, level=draws.level, seed=draws.seed,
        )  # fmt: skip
        self._only = len(tests) == 1

    def compared(self, n: int, own: Compared) -> Compared:
        """The n-th intervention's place on this axis, and the difference to the first.

        Args:
            own: what the first test says of it; where there is one test alone, that is the answer.
        """
        if self._only:
            return own
        difference = self.drawn.at(n) - self.drawn.at(0)
        return Compared(
            estimate=estimate(self.drawn.at(n), (-math.inf, 1.0)),
            difference=estimate(difference, _SIGNED) if n else None,
        )


def _standings(specs: Sequence[str], robustness: Drawn, awareness: Drawn) -> list[Standing]:
    points = np.stack([robustness.value, awareness.value], axis=-1)
    low = np.stack([_least(axis) for axis in (robustness, awareness)], axis=-1)
    low = np.where(np.abs(low) <= RESOLUTION, 0.0, low)
    over, on, sure = dominates(points), front(points), settled(points, low)
    return [
        Standing(
            on_front=bool(on[n]),
            settled=bool(sure[n]),
            dominated_by=[spec for spec, wins in zip(specs, over[:, n], strict=True) if wins],
        )
        for n in range(len(specs))
    ]


def _least(axis: Drawn) -> np.ndarray:
    """[p, q], the lower end of the difference of the p-th to the q-th intervention."""
    rows = []
    for p in range(len(axis.value)):  # one line at a time: all pairs of replicates are many
        value, replicates = axis.value[p] - axis.value, axis.replicates[:, p, None]
        rows.append(Drawn(value, replicates - axis.replicates, axis.level).interval()[0])
    return np.stack(rows)


def _multiplicity(placed: Sequence[Placed]) -> Multiplicity:
    differences = [d for one in placed for d in _differences(one) if d.low is not None]
    return Multiplicity(
        differences=len(differences),
        excluding_zero=sum(direction(d) != 0 for d in differences),
        expected_by_chance=(1 - LEVEL) * len(differences),
        pairs=len(placed) * (len(placed) - 1) // 2,
    )


def _differences(one: Placed) -> Iterator[Estimate]:
    """All paired differences of one intervention; a single test's are not counted twice."""
    numbers: list[ProbeNumbers | BenchmarkNumbers] = [*one.probes, *one.benchmarks]
    sides = [value for number in numbers for _, value in number if isinstance(value, Compared)]
    sides += [one.robustness] if len(one.probes) > 1 else []
    sides += [one.awareness] if len(one.benchmarks) > 1 else []
    yield from (side.difference for side in sides if side.difference is not None)
