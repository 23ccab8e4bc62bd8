"""`wheresight bench`: from a model's name to bench.json and its page.

OUT/lmms-eval/      what lmms-eval was asked and what it wrote: a folder for each task under each
                    intervention, task files, its log
OUT/bench.json      the numbers; OUT/bench.html the page
"""

from __future__ import annotations

import functools
import importlib.metadata
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wheresight.bridges.lmms_eval.arguments import model_arguments
from wheresight.bridges.lmms_eval.bench import hub, local_data, process, stimuli, tasks
from wheresight.bridges.lmms_eval.bench.compare import task_result
from wheresight.bridges.lmms_eval.bench.results import FILE_NAME, Bench
from wheresight.bridges.lmms_eval.bench.task_files import Dataset, dataset_of, installed
from wheresight.bridges.lmms_eval.bench.units import PICTURES, Answers, Unit
from wheresight.errors import RunError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.spec import canonical, parse
from wheresight.runs.adapter import say_adapter
from wheresight.runs.places import Place, open_place
from wheresight.runs.places.local import LocalFolder
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.results import Bootstrap, Environment
from wheresight.runs.store import content_name
from wheresight.runs.summarise import METHOD, check_bootstrap
from wheresight.skeletons import CAUTION, is_skeleton
from wheresight.statistics.clustered import Clusters

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard

_BELOW = "lmms-eval"
_LEVEL = 0.95
_OF_PAIRS = {"mme", "wheresight_mme"}


@dataclass(frozen=True)
class BenchRequest:
    """What `wheresight bench` is asked for; each field is the option of the same name."""

    out: str
    model: str = "pocket"
    adapter: str | None = None
    tasks: tuple[str, ...] = ("downstream",)
    interventions: tuple[str, ...] = ("none",)
    limit: int | None = None
    data: str | None = None
    dtype: str = "float32"
    device: str | None = None
    attention: str = "sdpa"
    batch_size: int = 8
    replicates: int = 2000
    seed: int = 0
    trust_remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True)
class _Plan:
    """What is to be run, and where its data is."""

    names: list[str]
    specs: list[str]
    datasets: dict[str, Dataset]
    folders: dict[str, Path]
    extra: dict[str, str]
    units: dict[tuple[str, str], Unit]
    settings: dict[str, Any]


def run_bench(
    request: BenchRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Bench:
    """Run what is missing, and write bench.json and bench.html.

    Raises:
        WheresightError: what was given, what was expected, what to do; finished answers are kept.
    """
    progress = progress or Silent()
    installed()
    check_bootstrap(request.replicates, _LEVEL)
    _check(request)
    names = tasks.expand(request.tasks)
    place = _local(request.out)
    card = _card(request, progress)
    plan = _planned(request, names, card, place)
    _check_data(request, plan)
    said = shlex.join(command) if command else repr(request)
    with place.hold(content_name({"bench": said}), "0"):
        _refuse_other(place)
        todo = [unit for unit in plan.units.values() if unit.answers() is None]
        if todo:
            _run(request, plan, todo, place.path / _BELOW, progress)
        bench = _summary(request, plan, said, progress)
        place.write(FILE_NAME, (bench.model_dump_json(indent=2) + "\n").encode())
        _write_page(place, bench)
    return bench


def _check(request: BenchRequest) -> None:
    if request.batch_size < 1:
        raise RunError(f"The batch size {request.batch_size} was given; expected 1 or more.")
    if request.limit is not None and request.limit < 1:
        raise RunError(f"The limit {request.limit} was given; expected 1 or more questions a task.")
    if request.data is not None and not Path(request.data).expanduser().is_dir():
        raise RunError(f"--data {request.data} is no folder. Expected one with a folder a task.")


def _local(out: str) -> LocalFolder:
    place = open_place(out)
    if not isinstance(place, LocalFolder):
        raise RunError(
            f"The output {out!r} is no local folder, and lmms-eval writes into one. Give a folder, "
            "and copy it when it is finished."
        )
    place.refuse_file()
    held = str(place.path.resolve())
    if any(sign in held for sign in ",'\"{}[]\\"):
        raise RunError(
            f"The output folder {held!r} has a comma, quote, bracket or backslash in its path, "
            "which lmms-eval cannot read. Choose another --out."
        )
    return place


def _card(request: BenchRequest, progress: Progress) -> ModelCard:
    from wheresight.lvlm.loading import check_precision, look_up

    check_precision(request.dtype, request.attention)
    progress.say(f"Looking up model {request.model}")
    card = look_up(
        request.model, adapter=request.adapter, trust_remote_code=request.trust_remote_code
    )
    specs = [canonical(spec) for spec in request.interventions]
    for spec in specs:
        refuse_unhosted(parse(spec), card.host(request.attention))
    say_adapter(card, specs, progress)
    return card


def _planned(request: BenchRequest, names: list[str], card: ModelCard, place: LocalFolder) -> _Plan:
    datasets = {name: dataset_of(tasks.config_of(name)) for name in names}
    folders = _folders(request, datasets)
    own = [name for name in names if name in tasks.own_tasks()]
    if request.limit is not None and request.limit % 2 and _OF_PAIRS & set(names):
        raise RunError(
            f"--limit {request.limit} cuts a pair of MME's questions in two, and its score is of "
            "pairs. Give an even number."
        )
    settings: dict[str, Any] = {
        "model": request.model,
        "model_revision": card.weights,
        **({"adapter": card.adapter.trained_under} if card.adapter else {}),
        "dtype": request.dtype,
        "attention": request.attention,
        "limit": request.limit,
        "lmms_eval": importlib.metadata.version("lmms-eval"),
    }
    written = {
        name: stimuli.settings_of(name, folders.pop(name, None), card.picture_size) for name in own
    }
    specs = list(dict.fromkeys(canonical(spec) for spec in request.interventions))
    root = place.path.resolve() / _BELOW
    units: dict[tuple[str, str], Unit] = {}
    for name in names:
        data_is = written.get(name) or (
            local_data.fingerprint(folders[name]) if name in folders else datasets[name].path
        )
        for spec in specs:
            content = content_name({**settings, "task": name, "spec": spec, "data": data_is})
            units[name, spec] = Unit.of(root, name, spec, content)
    extra = {name: stimuli.task_lines(root / "settings" / f"{name}.jsonl") for name in written}
    return _Plan(names, specs, datasets, folders, extra, units, {**settings, "stimuli": written})


def _folders(request: BenchRequest, datasets: Mapping[str, Dataset]) -> dict[str, Path]:
    """Where the local data of tasks is, of those that have any."""
    if request.data is None:
        return {}
    data = Path(request.data).expanduser().resolve()
    found = {name: local_data.folder_of(data, name, wanted) for name, wanted in datasets.items()}
    return {name: folder for name, folder in found.items() if folder is not None}


def _check_data(request: BenchRequest, plan: _Plan) -> None:
    missing = {
        name: plan.datasets[name]
        for name in plan.names
        if name not in plan.folders
        and name not in plan.extra
        and any(plan.units[name, spec].answers() is None for spec in plan.specs)
    }
    hub.check(missing)


def _refuse_other(place: Place) -> None:
    names = [name for name in place.names() if not name.startswith(".")]
    if names and _BELOW not in names:
        raise RunError(
            f"The output folder {place.name!r} is not empty and holds no answers of wheresight "
            "bench. Choose an empty or new folder for --out."
        )


def _run(
    request: BenchRequest, plan: _Plan, todo: Sequence[Unit], root: Path, progress: Progress
) -> None:
    root = root.resolve()
    working, files = root / "data", root / "tasks"
    progress.say("Making the data ready")
    local_data.stage(plan.folders, plan.datasets, working)
    for name, line in plan.settings["stimuli"].items():
        path = root / "settings" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line + "\n", encoding="utf-8")
    tasks.write_task_files(files, plan.names, plan.extra)
    # Neighbours share the weights; all tasks of an intervention come together.
    order = sorted(todo, key=lambda unit: plan.specs.index(unit.spec))
    process.run(
        order,
        [_configuration(request, unit, files) for unit in order],
        root=root,
        working=working,
        cache=root / "cache" if plan.folders else None,
        progress=progress,
    )


def _configuration(request: BenchRequest, unit: Unit, files: Path) -> dict[str, Any]:
    """The arguments of `lmms-eval eval` for one unit."""
    unit.folder.mkdir(parents=True, exist_ok=True)
    arguments = {
        "pretrained": _from_elsewhere(request.model),
        "intervention": unit.spec,
        "adapter": None
        if request.adapter is None
        else str(Path(request.adapter).expanduser().resolve()),
        "dtype": request.dtype,
        "attention": request.attention,
        "trust_remote_code": request.trust_remote_code or None,
        "allow_pickle": request.allow_pickle or None,
        "keep": True,
        "pictures": unit.folder / PICTURES,
    }
    found: dict[str, Any] = {
        "model": "wheresight",
        "model_args": model_arguments(arguments),
        "tasks": unit.task,
        "batch_size": str(request.batch_size),
        "include_path": str(files),
        "output_path": str(unit.folder),
        "log_samples": True,
    }
    if request.limit is not None:
        found["limit"] = float(request.limit)
    if request.device is not None:
        found["device"] = request.device
    return found


def _from_elsewhere(model: str) -> str:
    """A model's name as it is read in another working directory."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def _summary(request: BenchRequest, plan: _Plan, said: str, progress: Progress) -> Bench:
    progress.say("Computing intervals")
    draw = functools.partial(
        Clusters, replicates=request.replicates, level=_LEVEL, seed=request.seed
    )
    found = []
    clusters = 0
    for name in plan.names:
        answers: dict[str, Answers] = {}
        for spec in plan.specs:
            own = plan.units[name, spec].answers()
            assert own is not None, "every unit has run"
            answers[spec] = own
        data = str(plan.folders.get(name, plan.datasets[name].path))
        task = task_result(name, answers, data=_data(plan, name, data), draw=draw)
        clusters = max(clusters, task.pictures)
        found.append(task)
    return Bench(
        schema_version=1,
        command=said,
        configuration={k: v for k, v in plan.settings.items() if k != "stimuli"},
        environment=Environment.capture(seeds={"bootstrap": request.seed}),
        bootstrap=Bootstrap(
            replicates=request.replicates,
            seed=request.seed,
            level=_LEVEL,
            cluster="picture",
            clusters=clusters,
            method=METHOD,
        ),
        interventions=plan.specs,
        tasks=found,
        cautions=_cautions(request),
    )


def _data(plan: _Plan, name: str, data: str) -> str:
    made: Mapping[str, str] = plan.settings["stimuli"]
    return made.get(name, data)


def _cautions(request: BenchRequest) -> list[str]:
    found = [CAUTION] if is_skeleton(request.model) else []
    if request.limit is not None:
        found.append(
            f"Only the first {request.limit:,} questions of each task were asked: these numbers "
            "are a trial and stand beside no published ones."
        )
    return found


def _write_page(place: Place, bench: Bench) -> None:
    from wheresight.bridges.lmms_eval.bench.page import PAGE, page

    place.write(PAGE, page(bench).encode("utf-8", "replace"))
