"""What a tuning is asked for, and all that can be known and refused before a model loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from wheresight.errors import RunError, unknown_name
from wheresight.interventions.grids import Grid, read_grid
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import parse
from wheresight.probes.candidates import Candidate, candidates
from wheresight.probes.scored import BY_SCORE, PUBLISHED, READERS
from wheresight.probes.tuning import Objective, objective
from wheresight.runs.evaluate import fitted
from wheresight.runs.progress import Progress
from wheresight.runs.summarise import check_bootstrap
from wheresight.runs.tuned import PartUsed, Split
from wheresight.stimuli.benchmarks import Benchmark, Question, open_benchmark
from wheresight.stimuli.benchmarks.files import digest
from wheresight.stimuli.benchmarks.parts import unit

# The parts that a split is made of: to choose on, and to report.
SPLITS = {
    "sets": ("validation", "test"),
    "published": ("adaptvis-validation", "adaptvis-test"),
}
GRIDS = ("given", "published")


@dataclass(frozen=True)
class TuneRequest:
    """What a tuning is asked for.

    Attributes:
        out: folder or URL.
        benchmark: spec of the benchmark that is split.
        intervention: spec with lists in braces (`interventions.grids`).
        grid: `published` fills in the parameters that the spec leaves out; `given` does not.
        split: `sets` cuts no set or picture in two; `published` is AdaptVis's, which does.
        transfer: specs of other benchmarks that the chosen setting is tried on.
        reader: how answers are read (`scored.READERS`). None: by options' log-probability; as
            published if text is generated, by its letter if letters are asked for.
        objective: name of the number to make high (`tuning.OBJECTIVES`).
        blind: ask about blank pictures of the test part and of the other benchmarks too.
        model, letters, max_new_tokens, dtype, device, attention, batch_size, replicates, seed,
            trust_remote_code, allow_pickle: as of `EvaluateRequest`.
    """

    out: str
    benchmark: str = "2ds"
    intervention: str = ""
    grid: str = "given"
    split: str = "sets"
    transfer: tuple[str, ...] = ()
    reader: str | None = None
    objective: str = "accuracy"
    model: str = "pocket"
    letters: bool = False
    max_new_tokens: int = 0
    blind: bool = True
    dtype: str = "float32"
    device: str | None = None
    attention: str = "sdpa"
    batch_size: int = 64
    replicates: int = 2000
    seed: int = 0
    trust_remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True)
class Plan:
    """A tuning before its model loads.

    Attributes:
        request: what was asked for.
        grid: the settings.
        candidates: the model as it is, then each setting.
        objective, reader: what is made high, and how answers are read for it.
        split: the parts.
        transfer: other benchmarks.
        test_pictures: a hash of the test part's pictures.
        configuration: what decides answers, for the record of looks.
    """

    request: TuneRequest
    grid: Grid
    candidates: list[Candidate]
    objective: Objective
    reader: str
    split: Split
    transfer: tuple[str, ...]
    test_pictures: str
    configuration: dict[str, Any]


def plan(request: TuneRequest, progress: Progress) -> Plan:
    """Read and check all that was asked for; open the benchmarks, load no model.

    Raises:
        WheresightError: what was given, what was expected, what to do.
    """
    from wheresight.lvlm.loading import check_precision, look_up

    check_bootstrap(request.replicates)
    check_precision(request.dtype, request.attention)
    if request.grid not in GRIDS:
        raise RunError(unknown_name("grid", request.grid, GRIDS))
    if request.split not in SPLITS:
        raise RunError(unknown_name("split", request.split, SPLITS))
    aim = objective(request.objective)
    reader = _reader(request)
    if not request.intervention:
        raise RunError(
            "No intervention was given. Expected one with values to choose among, such as "
            "--intervention 'scalingvis:alpha={0.5,0.8,1.2,1.5,2}'."
        )
    grid = read_grid(request.intervention, published=request.grid == "published")
    settings = candidates(grid)
    card = look_up(request.model, trust_remote_code=request.trust_remote_code)
    host = card.host(request.attention)
    for spec in dict.fromkeys(s for one in settings for s in (one.spec, *one.runs)):
        refuse_unhosted(parse(spec), host)

    progress.say(f"Opening the benchmark {request.benchmark}")
    names = [_with_part(request.benchmark, part) for part in SPLITS[request.split]]
    parts = [open_benchmark(fitted(name, card.picture_size)) for name in names]
    chosen_on, reported = (part.questions() for part in parts)
    _check_objective(aim, reader, chosen_on, parts[0].name)
    others = []
    for given in dict.fromkeys(request.transfer):
        progress.say(f"Opening the benchmark {given}")
        other = open_benchmark(fitted(given, card.picture_size))
        _refuse_seen(other, parts[0], chosen_on)
        _check_objective(aim, reader, other.questions(), other.name)
        others.append(fitted(given, card.picture_size))
    held = {unit(question) for question in chosen_on}
    return Plan(
        request=request,
        grid=grid,
        candidates=settings,
        objective=aim,
        reader=reader,
        split=Split(
            kind=cast(Literal["sets", "published"], request.split),
            validation=_part(parts[0]),
            test=_part(parts[1]),
            shared=sum(unit(question) in held for question in reported),
        ),
        transfer=tuple(others),
        test_pictures=digest(*sorted({question.picture for question in reported})),
        configuration={
            "model": request.model,
            "model_revision": card.revision,
            "dtype": request.dtype,
            "attention": request.attention,
            "letters": request.letters,
            "max_new_tokens": request.max_new_tokens,
        },
    )


def _reader(request: TuneRequest) -> str:
    """The reader that was asked for, or the usual one; refused where it has nothing to read."""
    text = request.max_new_tokens > 0
    usual = ("letter" if request.letters else PUBLISHED) if text else BY_SCORE[0]
    reader = request.reader or usual
    if reader not in READERS:
        raise RunError(unknown_name("reader", reader, READERS))
    if reader not in BY_SCORE and not text:
        raise RunError(
            f"The reader {reader!r} reads generated text, and none is asked for. Expected "
            f"--max-new-tokens above 0, or one of the readers {' and '.join(BY_SCORE)}."
        )
    if reader not in BY_SCORE and (reader == "letter") != request.letters:
        raise RunError(
            f"The reader {reader!r} does not go with {'' if request.letters else 'no '}--letters: "
            "text that is asked for a letter is read by the reader 'letter', and only that."
        )
    return reader


def _with_part(spec: str, part: str) -> str:
    before, _, options = spec.partition("#")
    named = [piece.partition("=")[0] for piece in options.split(",")]
    if "part" in named:
        raise RunError(
            f"The benchmark {spec!r} is one part already, and tuning splits a benchmark itself. "
            "Leave part= out, and name the kind of split with --split."
        )
    return f"{before}#{options + ',' if options else ''}part={part}"


def _part(benchmark: Benchmark) -> PartUsed:
    questions = benchmark.questions()
    clusters = {question.cluster for question in questions}
    return PartUsed(benchmark=benchmark.name, questions=len(questions), pictures=len(clusters))


def _check_objective(aim: Objective, reader: str, questions: Sequence[Question], name: str) -> None:
    """Refuse a number that these questions do not have."""
    missing = ""
    if aim.name in ("pairs", "sets"):
        labels = [q.pair if aim.name == "pairs" else q.group for q in questions]
        sizes = [2 if aim.name == "pairs" else q.group_size for q in questions]
        counts = Counter(label for label in labels if label)
        whole = [counts[la] == size for la, size in zip(labels, sizes, strict=True) if la]
        if not any(whole):
            missing = f"{'no' if not whole else 'no complete'} {aim.name}"
    if aim.name == "balanced-accuracy":
        if reader == PUBLISHED:
            missing = "no answers that are yes or no by the reader 'published'"
        words = ({option.casefold() for option in q.options} for q in questions)
        if any(own != {"yes", "no"} for own in words):
            missing = "questions that are not of yes and no"
    if missing:
        raise RunError(
            f"The objective {aim.name!r} cannot be computed on {name!r}, which has {missing}. "
            "Choose by accuracy, or split into whole sets (--split sets)."
        )


def _refuse_seen(other: Benchmark, part: Benchmark, chosen_on: Sequence[Question]) -> None:
    """Refuse to carry a choice over to the questions that it was made on."""
    if other.name.partition("#")[0] != part.name.partition("#")[0]:
        return
    shown = {question.picture for question in chosen_on}
    again = {question.picture for question in other.questions()} & shown
    if again:
        raise RunError(
            f"{other.name!r} was given to --transfer and shows {len(again)} of the pictures that "
            "the choice is made on. Expected a benchmark that has no part in the choice; the rest "
            "of the one that is split is reported anyway."
        )
