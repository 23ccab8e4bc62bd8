"""Evaluate a model on benchmarks under several interventions: resume, records, numbers.

DIR/evaluate.json           the last request: configuration, benchmarks, names of their records
DIR/records/UNIT-SHA.parquet   some questions under one intervention; UNIT says by hash what decides
                            them, SHA is a hash of the file's bytes
DIR/evaluation.json         every way of scoring with its interval, beside baselines
DIR/evaluation.html, figures/  the same for people; both are made from the records, and can be made
                            again without the model
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import RunError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse
from wheresight.probes.evaluate import Evaluated, evaluate
from wheresight.runs import evaluation_records
from wheresight.runs.adapter import say_adapter
from wheresight.runs.evaluation import summarise
from wheresight.runs.evaluation_batch import BatchSize, check_batch_size, noted, settle
from wheresight.runs.evaluation_results import FILE_NAME, Evaluation, written
from wheresight.runs.evaluation_units import Few, Shard, check_pictures, missing, plan
from wheresight.runs.manifest import ManifestFile
from wheresight.runs.places import Place, open_place
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.results import Bootstrap, Environment
from wheresight.runs.store import content_name
from wheresight.runs.summarise import METHOD, check_bootstrap
from wheresight.skeletons import CAUTION, is_skeleton
from wheresight.stimuli.benchmarks import Benchmark, Controlled, open_benchmark

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard
    from wheresight.lvlm.scoring import Scorer

PAGE = "evaluation.html"
MANIFEST = ManifestFile("evaluate.json", 1, "evaluation", "an evaluation was written into")


@dataclass(frozen=True)
class EvaluateRequest:
    """What an evaluation is asked for.

    Attributes:
        out: folder or URL.
        benchmarks: specs of benchmarks.
        interventions: specs; the first is the one that others are compared with.
        letters: ask for the letter of an option.
        max_new_tokens: longest generated text; with 0 nothing is generated.
        blind: ask about blank pictures of the same size too, under the first intervention.
        batch_size: questions in one forward pass; `auto` tries out what is fastest. Halved when
            memory runs out.
        replicates, seed: of the bootstrap.
    """

    out: str
    benchmarks: tuple[str, ...] = ("2ds",)
    model: str = "pocket"
    adapter: str | None = None
    interventions: tuple[str, ...] = ("none",)
    letters: bool = False
    max_new_tokens: int = 0
    blind: bool = True
    dtype: str = "float32"
    device: str | None = None
    attention: str = "sdpa"
    batch_size: BatchSize = 64
    replicates: int = 2000
    seed: int = 0
    trust_remote_code: bool = False
    allow_pickle: bool = False


Load = Callable[[EvaluateRequest, "ModelCard", Progress], tuple["Scorer", dict[str, Any]]]


def run_evaluate(
    request: EvaluateRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
    load: Load | None = None,
) -> Evaluation:
    """Evaluate, or go on with it; write records and evaluation.json, and return what is in it.

    Args:
        request: what is asked for.
        command: the command line, to be written down.
        progress: who is told how far it is.
        load: gives the model where records are missing, for those who evaluate one model several
            times; the model is loaded here unless told.

    Raises:
        WheresightError: what was given, what was expected, what to do; finished records are kept.
    """
    from wheresight.lvlm.loading import check_precision, look_up

    progress = progress or Silent()
    _check(request)
    check_precision(request.dtype, request.attention)
    specs = list(dict.fromkeys(canonical(spec) for spec in request.interventions))
    place = open_place(request.out)
    place.refuse_file()
    card = look_up(
        request.model, adapter=request.adapter, trust_remote_code=request.trust_remote_code
    )
    for spec in specs:
        refuse_unhosted(parse(spec), card.host(request.attention))
    say_adapter(card, specs, progress)
    settings = {
        "model": request.model,
        "model_revision": card.weights,
        **({"adapter": card.adapter.trained_under} if card.adapter else {}),
        "dtype": request.dtype,
        "attention": request.attention,
        "letters": request.letters,
        "max_new_tokens": request.max_new_tokens,
    }
    planned: list[Shard] = []
    opened: dict[str, Benchmark] = {}
    for given in dict.fromkeys(request.benchmarks):
        progress.say(f"Opening the benchmark {given}")
        whole = open_benchmark(fitted(given, card.picture_size))
        opened[whole.name] = whole
        planned += list(plan(whole, "", specs, settings))
        if request.blind:
            planned += list(plan(Controlled(whole, "blank"), "blank", specs[:1], settings))
    said = shlex.join(command) if command else repr(request)
    with place.hold(content_name({"evaluate": said}), "0") as alone:
        if alone:
            place.clear()
        environment = MANIFEST.environment(place)
        todo = missing(place, planned)
        if todo:
            check_pictures(todo, progress)
            scorer, loaded = (load or load_scorer)(request, card, progress)
            if request.batch_size == "auto":
                few, tried = Few(todo[0]), [unit.spec for unit in todo[0].units]
                settle(
                    scorer,
                    few,
                    tried,
                    letters=request.letters,
                    before=environment,
                    progress=progress,
                )
            environment = noted(loaded, scorer, request.batch_size)
        manifest = {
            "command": said,
            "configuration": settings,
            "interventions": specs,
            "replicates": request.replicates,
            "seed": request.seed,
            "fingerprints": {name: whole.fingerprint for name, whole in opened.items()},
            "units": [unit.name for shard in planned for unit in shard.units],
            "environment": environment,
        }
        MANIFEST.write(place, manifest)
        if todo:
            _measure(place, scorer, planned, todo, request, progress)
            if (now := noted(loaded, scorer, request.batch_size)) != environment:
                progress.say(f"Memory ran out: {scorer.batch_size} questions at once in the end")
                MANIFEST.write(place, {**manifest, "environment": now})
        return write_evaluation(place, progress, opened=opened)


def holds_evaluation(where: str) -> bool:
    """Was this folder written by `wheresight evaluate`?"""
    return MANIFEST.name in open_place(where).names()


def redraw(
    where: str, *, replicates: int | None = None, progress: Progress | None = None
) -> Evaluation:
    """Make evaluation.json and the page again from a folder's records; no model is needed."""
    place = open_place(where)
    with place.hold("redraw", "0"):
        return write_evaluation(place, progress or Silent(), replicates)


def page_of(where: str) -> str:
    """The address of an evaluation's page."""
    return open_place(where).uri(PAGE)


def fitted(spec: str, picture_size: int | None) -> str:
    """A spec of localisation with the canvas that the grid probe would show this model."""
    before, _, options = spec.partition("#")
    named = {piece.partition("=")[0] for piece in options.split(",")}
    if before.partition(":")[0] != "localisation" or picture_size is None or "canvas" in named:
        return spec
    grid = next((p.partition("=")[2] for p in options.split(",") if p.startswith("grid=")), "3x3")
    longer = max(int(side) for side in grid.lower().split("x") if side.strip().isdigit())
    added = f"canvas={picture_size}"
    if "tile" not in named and "layout=insert" not in options:
        added += f",tile={picture_size // max(1, longer)}"
    return f"{before}#{options + ',' if options else ''}{added}"


def write_evaluation(
    place: Place,
    progress: Progress,
    replicates: int | None = None,
    opened: Mapping[str, Benchmark] | None = None,
) -> Evaluation:
    """Compute evaluation.json from the records that the manifest names, and draw the page.

    Args:
        place: the evaluation's.
        progress: who is told how far it is.
        replicates: of the bootstrap; those of the run unless told.
        opened: benchmarks that are open already, by their names.
    """
    from wheresight.runs.evaluation_page import draw

    found, records, fingerprints = evaluation_of(place, progress, replicates)
    place.write(FILE_NAME, written(found))
    progress.say("Drawing the page")
    draw(place, found, records, fingerprints, opened)
    return found


def evaluation_of(
    place: Place, progress: Progress, replicates: int | None = None, *, whole: bool = True
) -> tuple[Evaluation, list[Evaluated], dict[str, str]]:
    """Compute an evaluation from the records that the manifest names; nothing is written.

    Args:
        place: the evaluation's.
        progress: who is told how far it is.
        replicates: of the bootstrap; those of the run unless told.
        whole: expect all records; else the questions count that are answered under every
            intervention, as is due while a run is under way.

    Returns the numbers, the records that they are of, and the benchmarks' fingerprints by name: a
    folder that was written before there were fingerprints has none, and gets no pictures.
    """
    manifest = MANIFEST.read(place)
    progress.say("Computing intervals")
    records = read_records(place) if whole else _records_so_far(place, manifest)
    replicates, seed = replicates or manifest["replicates"], manifest["seed"]
    environment = manifest["environment"]
    found = Evaluation(
        schema_version=1,
        command=manifest["command"],
        configuration=manifest["configuration"],
        environment=Environment.model_validate(environment) if environment else None,
        bootstrap=Bootstrap(
            replicates=replicates,
            seed=seed,
            level=0.95,
            cluster="cluster",
            clusters=len({(record["benchmark"], record["cluster"]) for record in records}),
            method=METHOD,
        ),
        benchmarks=summarise(
            records,
            manifest["interventions"],
            replicates=replicates,
            seed=seed,
        ),
        caution=CAUTION if is_skeleton(manifest["configuration"]["model"]) else None,
    )
    return found, records, manifest.get("fingerprints", {})


def read_records(place: Place) -> list[Evaluated]:
    """All records of the last request, some questions under each intervention after another."""
    units = MANIFEST.read(place)["units"]
    return [record for unit in units for record in evaluation_records.read(place, unit)]


def _records_so_far(place: Place, manifest: Mapping[str, Any]) -> list[Evaluated]:
    """The records that are there, of the questions that every intervention has answered."""
    records = [
        record
        for unit in manifest["units"]
        for record in evaluation_records.read_if_there(place, unit)
    ]
    answered: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record["control"] != "blank":
            own = answered.setdefault((record["benchmark"], record["question"]), set())
            own.add(record["intervention"])
    wanted = set(manifest["interventions"])
    done = {key for key, specs in answered.items() if specs == wanted}
    found = [r for r in records if (r["benchmark"], r["question"]) in done]
    if not found:
        raise RunError(f"No question of {place.name!r} is answered under every intervention yet.")
    return found


def _check(request: EvaluateRequest) -> None:
    check_bootstrap(request.replicates)
    check_batch_size(request.batch_size)
    if not request.interventions or not request.benchmarks:
        raise RunError(
            "No intervention or no benchmark was given; expected at least one of each, such as "
            "none and 2ds."
        )
    if request.max_new_tokens < 0:
        raise RunError(
            f"{request.max_new_tokens} new tokens were asked for; expected 0 (generate nothing) or "
            "more."
        )


def load_scorer(
    request: EvaluateRequest, card: ModelCard, progress: Progress
) -> tuple[Scorer, dict[str, Any]]:
    """The model behind a scorer, and what is to be told of where it runs."""
    import torch

    from wheresight.lvlm.loading import load
    from wheresight.lvlm.scoring import Scorer

    progress.say(f"Loading {request.model}")
    lvlm = load(
        card,
        dtype=request.dtype,
        device=request.device,
        attention=request.attention,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )
    hardware = {"device": str(lvlm.device), "threads": torch.get_num_threads()}
    environment = Environment.capture(seeds={"run": request.seed}, hardware=hardware)
    size = 1 if request.batch_size == "auto" else request.batch_size
    return Scorer(lvlm, batch_size=size), environment.model_dump(mode="json")


def _measure(
    place: Place,
    scorer: Scorer,
    planned: Sequence[Shard],
    todo: Sequence[Shard],
    request: EvaluateRequest,
    progress: Progress,
) -> None:
    total, left = (sum(u.count for s in some for u in s.units) for some in (planned, todo))
    progress.start(total, total - left, "questions")
    try:
        for shard in todo:
            found = evaluate(
                scorer,
                Few(shard),
                [unit.spec for unit in shard.units],
                letters=request.letters,
                max_new_tokens=request.max_new_tokens,
                control=shard.control,
                advance=progress.advance,
            )
            for unit in shard.units:
                evaluation_records.write(place, unit.name, found[unit.spec])
    finally:
        progress.stop()
