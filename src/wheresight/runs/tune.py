"""Tune a method fairly: choose its setting on a validation part, report it once on a test part.

DIR/validation/     an evaluation of all settings, or of what they are put together from
DIR/test/           an evaluation of the model as it is and of the chosen setting, on the test part
                    and on the sets that the choice is carried over to
DIR/choices.json    every choice whose test part was looked at in this folder
DIR/tune.json       the numbers; DIR/tune.html the page
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wheresight.probes.candidates import NONE, Candidate, to_run
from wheresight.probes.evaluate import Evaluated
from wheresight.runs import looks
from wheresight.runs.evaluate import EvaluateRequest, load_scorer, read_records, run_evaluate
from wheresight.runs.evaluation_results import Evaluation
from wheresight.runs.places import Place, open_place
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.store import content_name
from wheresight.runs.tune_plan import Plan, TuneRequest, plan
from wheresight.runs.tuned import FILE_NAME, Compared, Look, Tuned, read_from, written
from wheresight.runs.tuning import Numbers, compared

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard
    from wheresight.lvlm.scoring import Scorer

VALIDATION, TEST = "validation", "test"


class _Evaluations:
    """The evaluations of one tuning, which share one model."""

    def __init__(self, request: TuneRequest, command: list[str] | None, progress: Progress) -> None:
        self._request, self._command, self._progress = request, command, progress
        self._loaded: tuple[Scorer, dict[str, Any]] | None = None

    def run(
        self, name: str, benchmarks: Sequence[str], specs: Sequence[str], *, blind: bool
    ) -> tuple[Evaluation, list[Evaluated]]:
        """Evaluate in a folder of this tuning, or go on with it; with the records."""
        shared = set(EvaluateRequest.__dataclass_fields__) & set(TuneRequest.__dataclass_fields__)
        given = {field: getattr(self._request, field) for field in shared}
        given |= {"out": f"{self._request.out.rstrip('/')}/{name}", "blind": blind}
        request = EvaluateRequest(**given, benchmarks=tuple(benchmarks), interventions=tuple(specs))
        found = run_evaluate(
            request, command=self._command, progress=self._progress, load=self._load_once
        )
        return found, read_records(open_place(request.out))

    def _load_once(
        self, request: EvaluateRequest, card: ModelCard, progress: Progress
    ) -> tuple[Scorer, dict[str, Any]]:
        if self._loaded is None:
            self._loaded = load_scorer(request, card, progress)
        return self._loaded


def run_tune(
    request: TuneRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Tune, or go on with it; write records, tune.json and tune.html, and return what is found.

    Raises:
        WheresightError: what was given, what was expected, what to do; finished records are kept.
    """
    progress = progress or Silent()
    planned = plan(request, progress)
    place = open_place(request.out)
    said = shlex.join(command) if command else repr(request)
    with place.hold(content_name({"tune": said}), "0") as alone:
        if alone:
            place.clear()
        looks.begin(place)
        runs = _Evaluations(request, list(command) if command else None, progress)
        numbers, passes = _validate(planned, runs, progress)
        choice = numbers.choice()
        progress.say(f"Chosen on the validation part: {choice.spec}")
        seen, evaluation, found = _report(planned, runs, place, choice.spec)
        tuned = Tuned(
            schema_version=1,
            command=said,
            configuration=evaluation.configuration,
            environment=evaluation.environment,
            bootstrap=evaluation.bootstrap,
            grid=numbers.grid(planned.grid, passes),
            chosen_by=numbers.chosen_by(),
            split=planned.split,
            candidates=numbers.candidates(),
            choice=choice,
            test=found[0],
            transfer=found[1:],
            looks=seen,
            caution=evaluation.caution,
        )
        place.write(FILE_NAME, written(tuned))
        _write_page(place, tuned)
        return tuned


def redraw(where: str) -> tuple[Tuned, str]:
    """Make the page of a tuning again from its tune.json.

    Returns the numbers and the page's address. For new numbers repeat the tuning's command.
    """
    from wheresight.report.tuning_page import PAGE

    place = open_place(where)
    tuned = read_from(place)
    _write_page(place, tuned)
    return tuned, place.uri(PAGE)


def _validate(planned: Plan, runs: _Evaluations, progress: Progress) -> tuple[Numbers, list[str]]:
    """Numbers of all settings on the validation part, and what was run for them."""
    settings = planned.candidates
    benchmark = planned.split.validation.benchmark
    while True:
        passes = to_run(settings)
        _, records = runs.run(VALIDATION, [benchmark], passes, blind=False)
        found: dict[str, list[Evaluated]] = {}
        for record in records:
            found.setdefault(record["intervention"], []).append(record)
        doubtful = {one.spec for one in settings if one.in_doubt(found)}
        if not doubtful:
            progress.say("Choosing")
            return Numbers(planned, settings, found), passes
        progress.say(
            f"Of {len(doubtful)} settings the threshold is so near to the model's confidence that "
            "its last digits decide; these are run themselves"
        )
        settings = _direct(settings, doubtful)


def _direct(settings: Sequence[Candidate], which: set[str]) -> list[Candidate]:
    return [one.direct() if one.spec in which else one for one in settings]


def _report(
    planned: Plan, runs: _Evaluations, place: Place, chosen: str
) -> tuple[list[Look], Evaluation, list[Compared]]:
    """Evaluate the test part and the other sets under one setting and the model as it is.

    Nothing else ever asks for records of the test part. The look is written down before it begins.
    """
    request, test = planned.request, planned.split.test.benchmark
    look = Look(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        pictures=planned.test_pictures,
        benchmark=test,
        configuration=planned.configuration,
        objective=planned.objective.name,
        reader=planned.reader,
        chosen=chosen,
    )
    seen = looks.note(place, look)
    specs = list(dict.fromkeys([NONE, chosen]))
    evaluation, records = runs.run(TEST, [test, *planned.transfer], specs, blind=request.blind)
    found = []
    for result in evaluation.benchmarks:
        own: dict[str, list[Evaluated]] = {}
        for record in records:
            if record["benchmark"] == result.benchmark and not record["control"]:
                own.setdefault(record["intervention"], []).append(record)
        found.append(compared(planned, result, own, chosen))
    return seen, evaluation, found


def _write_page(place: Place, tuned: Tuned) -> None:
    from wheresight.report.tuning_page import write_page

    with place.folder() as folder:
        write_page(folder, tuned)
