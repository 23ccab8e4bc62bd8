"""One call from a model's name to a page of diagnostics: plan, resume, measure, find, draw.

DIR/diagnose.json     the last request: configuration, diagnostics, names of their records
DIR/records/*.parquet one file for each diagnostic and intervention (`diagnostic_records`)
DIR/findings.json, diagnostics.html, figures/    made from the records; can be made again
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from wheresight.errors import RunError, SpecError
from wheresight.interventions.host import Host, refuse_unhosted
from wheresight.interventions.spec import canonical, parse
from wheresight.probes.bench import Bench
from wheresight.probes.diagnostic import Diagnostic
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.probes.registry import diagnostics
from wheresight.runs import diagnostic_records as records
from wheresight.runs.adapter import say_adapter
from wheresight.runs.diagnose_findings import MANIFEST, write_findings
from wheresight.runs.diagnosis import Diagnosis
from wheresight.runs.evaluate import fitted
from wheresight.runs.places import Place, open_place
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.request import GridRequest, open_grid
from wheresight.runs.results import Environment
from wheresight.runs.store import content_name
from wheresight.runs.summarise import check_bootstrap
from wheresight.stimuli.benchmarks import Benchmark, open_benchmark

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard
    from wheresight.lvlm.scoring import Scorer


@dataclass(frozen=True)
class DiagnoseRequest:
    """What `wheresight diagnose` is asked for; each field is the option of the same name.

    `tools` are specs of diagnostics; none means all. `items`, `protocol` and `benchmark` are
    given to every diagnostic that has such an option and does not set it itself.
    """

    out: str
    tools: tuple[str, ...] = ()
    model: str = "pocket"
    adapter: str | None = None
    source: str = "pocket"
    items: int | None = None
    interventions: tuple[str, ...] = ("none",)
    protocol: Literal["balanced", "paper"] | None = None
    benchmark: str | None = None
    question: str = "paper"
    grid: str = "3x3"
    layout: str = "swap"
    canvas: int | None = None
    tile: int | None = None
    background: str = "white"
    seed: int = 0
    image_column: str | None = None
    caption_column: str | None = None
    sample: int | None = None
    skip_bad: bool = False
    dtype: str = "float32"
    device: str | None = None
    attention: str = "sdpa"
    batch_size: int = 64
    replicates: int = 2000
    trust_remote_code: bool = False
    allow_pickle: bool = False

    def grid_request(self, items: int) -> GridRequest:
        """The grid probe that the diagnostics take their items from; it asks negatives too."""
        shared = asdict(self)
        for name in ("tools", "items", "protocol", "benchmark"):
            del shared[name]
        return GridRequest(**shared, items=items, protocol="balanced")


@dataclass(frozen=True)
class DiagnoseOutcome:
    """Where a run ended.

    Attributes:
        diagnosis: the findings.
        folder: the output folder or URL.
        report: address of the page.
        computed: how many records files were made, not found.
    """

    diagnosis: Diagnosis
    folder: str
    report: str
    computed: int


class _Todo(NamedTuple):
    """Records to make: of a diagnostic, under an intervention, called by a unit's name."""

    tool: Diagnostic
    spec: str
    unit: str
    benchmark: Benchmark | None


@dataclass(frozen=True)
class _Planned:
    """A diagnostic, its interventions with the names of their records, and those it cannot do."""

    tool: Diagnostic
    units: Mapping[str, str]
    left_out: tuple[str, ...] = ()
    benchmark: Benchmark | None = None


def run_diagnose(
    request: DiagnoseRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> DiagnoseOutcome:
    """Run diagnostics, or go on with them, and write records, findings.json and a page.

    Raises:
        WheresightError: what was given, what was expected, what to do; finished records are kept.
    """
    progress = progress or Silent()
    check_bootstrap(request.replicates)
    tools = diagnostics(
        request.tools,
        items=request.items,
        protocol=request.protocol,
        benchmark=request.benchmark,
    )
    if not request.interventions:
        raise RunError("No intervention was given; expected at least one, such as none or bapa.")
    specs = list(dict.fromkeys(canonical(spec) for spec in request.interventions))
    place = open_place(request.out)
    place.refuse_file()
    grid = request.grid_request(max(1, *(tool.wants() for tool in tools)))
    card, probe = open_grid(grid, progress)
    host = card.host(request.attention)
    say_adapter(card, specs, progress)
    named = bool(request.tools)
    planned, left_out = [], []
    opened = _open_benchmarks(tools, card, progress)
    for tool in tools:
        benchmark = opened.get(tool.asks_benchmark)
        reason, on = tool.refuses(host), "this model"
        if reason is None and benchmark is not None:
            reason, on = tool.refuses_benchmark(benchmark), "this benchmark"
        if reason and named:
            raise SpecError(f"The diagnostic {tool.name!r} cannot be run on {on}. {reason}")
        if reason:
            left_out.append(f"{tool.name}: {reason}")
            progress.say(f"Leaving out {tool.name}: {reason}")
            continue
        planned.append(_plan(tool, specs, host, probe, benchmark, named, progress))
    said = shlex.join(command) if command else repr(request)
    with place.hold(content_name({"diagnose": said}), "0") as alone:
        if alone:
            place.clear()
        manifest = _manifest(
            request, probe.settings, planned, left_out, said, MANIFEST.environment(place)
        )
        MANIFEST.write(place, manifest)
        todo = [
            _Todo(plan.tool, spec, unit, plan.benchmark)
            for plan in planned
            for spec, unit in plan.units.items()
            if records.find(place, plan.tool, unit) is None
        ]
        count = sum(len(plan.units) for plan in planned)
        progress.say(
            f"{len(planned)} diagnostics, {count} records files (one for each diagnostic and "
            f"intervention); {count - len(todo)} are there"
        )
        if todo:
            scorer, environment = _load(request, card, probe, todo, progress)
            manifest["environment"] = environment
            MANIFEST.write(place, manifest)
            _measure(place, probe, scorer, todo, request.seed, progress)
        diagnosis, page = write_findings(place, progress)
    return DiagnoseOutcome(diagnosis, place.name, page, len(todo))


def _open_benchmarks(
    tools: Sequence[Diagnostic], card: ModelCard, progress: Progress
) -> dict[str, Benchmark]:
    """Open what the diagnostics ask for, by spec, each once."""
    found: dict[str, Benchmark] = {}
    for spec in dict.fromkeys(tool.asks_benchmark for tool in tools):
        if spec:
            progress.say(f"Opening the benchmark {spec}")
            found[spec] = open_benchmark(fitted(spec, card.picture_size))
    return found


def _plan(
    tool: Diagnostic,
    specs: Sequence[str],
    host: Host,
    probe: GridProbe,
    benchmark: Benchmark | None,
    named: bool,
    progress: Progress,
) -> _Planned:
    """Check every spec that a diagnostic will run the model under, and name its records.

    Raises:
        SpecError: if it was asked for by name and cannot be run under one of them.
    """
    units, left_out = {}, []
    for spec in ["none"] if tool.once else specs:
        try:
            for used in tool.specs(spec):
                refuse_unhosted(parse(used), host)
        except SpecError as error:
            if named:
                raise
            left_out.append(f"{spec}: {error}")
            progress.say(f"Leaving out {tool.name} under {spec}: {error}")
            continue
        units[spec] = records.unit_name(tool, spec, probe, benchmark)
    return _Planned(tool, units, tuple(left_out), benchmark)


def _load(
    request: DiagnoseRequest,
    card: ModelCard,
    probe: GridProbe,
    todo: Sequence[_Todo],
    progress: Progress,
) -> tuple[Scorer, dict[str, Any]]:
    import torch

    from wheresight.lvlm.loading import load
    from wheresight.lvlm.scoring import Scorer

    probe.check_pictures(probe.items[: max(unit.tool.wants() for unit in todo)])
    used = {unit.tool.asks_benchmark: unit.benchmark for unit in todo if unit.benchmark}
    for benchmark in used.values():
        for question in {q.picture: q for q in benchmark.questions()}.values():
            benchmark.picture(question)  # a bad one is found before a model loads
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
    return Scorer(lvlm, batch_size=request.batch_size), environment.model_dump(mode="json")


def _measure(
    place: Place,
    probe: GridProbe,
    scorer: Scorer,
    todo: Sequence[_Todo],
    seed: int,
    progress: Progress,
) -> None:
    for number, (tool, spec, unit, benchmark) in enumerate(todo, 1):
        under = "" if tool.once else f" under {spec}"
        progress.say(f"{number} of {len(todo)}: {tool.name}{under}")
        items = tuple(probe.items[: tool.wants()])
        bench = Bench(scorer, probe, items, spec, seed, benchmark)
        progress.start(tool.steps(bench), 0, tool.unit)
        try:
            columns = tool.measure(bench, progress.advance)
        finally:
            progress.stop()
        records.write(place, tool, unit, columns)


def _manifest(
    request: DiagnoseRequest,
    settings: GridSettings,
    planned: Sequence[_Planned],
    left_out: Sequence[str],
    command: str,
    environment: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "command": command,
        "configuration": settings.model_dump(mode="json"),
        "replicates": request.replicates,
        "diagnostics": [
            {
                "spec": str(plan.tool),
                "options": plan.tool.to_json()["params"],
                "units": dict(plan.units),
                "left_out": list(plan.left_out),
            }
            for plan in planned
        ],
        "left_out": list(left_out),
        "environment": environment,
    }
