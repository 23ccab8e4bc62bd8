"""One call from a model's name to a report: plan, resume, score, summarise, draw."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from wheresight.errors import RunError, StimulusError, WheresightError
from wheresight.interventions.spec import canonical
from wheresight.probes.questions import question_template
from wheresight.runs.results import Environment, Results, write
from wheresight.runs.store import RunFolder

# The paper's composites are 840 pixels wide; a tower that is fed a fixed size gets that size
# instead, so that tiles are scaled once and the grid's phase against the patches is known.
PAPER_CANVAS = 840


class Progress(Protocol):
    """Who is told how far a run is; the command line draws it, a library call is silent."""

    def say(self, text: str) -> None:
        """A step has begun or something happened."""

    def start(self, total: int, done: int, unit: str) -> None:
        """Counting begins: `done` of `total` units are there already."""

    def advance(self, count: int) -> None:
        """So many more are done."""

    def stop(self) -> None:
        """Counting ends."""


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, done: int, unit: str) -> None: ...
    def advance(self, count: int) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class GridRequest:
    """What `wheresight probe` is asked for; each field is the option of the same name."""

    out: str
    model: str = "pocket"
    source: str = "pocket"
    items: int = 200
    interventions: tuple[str, ...] = ("none",)
    protocol: Literal["balanced", "paper"] = "balanced"
    question: str = "paper"
    generate: bool = False
    max_new_tokens: int = 16
    grid: str = "3x3"
    layout: str = "swap"
    canvas: int | None = None
    tile: int | None = None
    background: str = "white"
    jitter: int = 0
    seed: int = 0
    image_column: str | None = None
    caption_column: str | None = None
    sample: int | None = None
    skip_bad: bool = False
    dtype: str = "float32"
    device: str | None = None
    attention: str = "sdpa"
    batch_size: int = 64
    share_prefix: bool | None = None
    replicates: int = 2000
    trust_remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True)
class GridOutcome:
    """Where a run ended."""

    results: Results
    folder: Path
    report: Path
    rows_computed: int


def run_grid(
    request: GridRequest, *, command: Sequence[str] | None = None, progress: Progress | None = None
) -> GridOutcome:
    """Run the grid probe, or go on with it, and write records, results.json and report.html.

    Raises:
        WheresightError: what was given, what was expected, what to do; finished records are kept.
    """
    progress = progress or Silent()
    interventions = _interventions(request.interventions)
    question = question_template(request.question)
    if request.items < 1:
        raise StimulusError(f"{request.items} items were asked for; expected 1 or more.")

    from wheresight.lvlm.loading import check_precision, load, look_up
    from wheresight.probes.grid import GridProbe, GridSettings
    from wheresight.stimuli.composites import parse_grid
    from wheresight.stimuli.sources import open_source

    rows, columns = parse_grid(request.grid)
    check_precision(request.dtype, request.attention)
    progress.say(f"Reading pairs from {request.source}")
    source = open_source(
        request.source,
        image_column=request.image_column,
        caption_column=request.caption_column,
        sample=request.sample,
        seed=request.seed,
        skip_bad=request.skip_bad,
    )
    progress.say(f"Looking up model {request.model}")
    card = look_up(request.model, trust_remote_code=request.trust_remote_code)
    canvas = request.canvas or _canvas(request.layout, card.picture_size)
    settings = GridSettings(
        model=request.model,
        model_revision=card.revision,
        dtype=request.dtype,
        attention=request.attention,
        source=source.name,
        source_fingerprint=source.fingerprint,
        protocol=request.protocol,
        question=question,
        scoring="generate" if request.generate else "first_token",
        max_new_tokens=request.max_new_tokens if request.generate else None,
        rows=rows,
        columns=columns,
        layout=request.layout,
        canvas=canvas,
        tile=request.tile or _tile(request, (rows, columns), canvas, card.picture_size),
        background=request.background,
        jitter=request.jitter,
        seed=request.seed,
    )
    probe = GridProbe(settings, source, request.items)

    folder = RunFolder(request.out)
    said = shlex.join(command) if command else repr(request)
    with folder.lock():
        folder.prepare(
            settings.model_dump(mode="json"), {"command": said, "options": asdict(request)}
        )
        for part in folder.damaged():
            progress.say(f"The record part {part} is damaged; it is set aside and computed again")

        from wheresight.runs.engine import execute, plan

        plan_ = plan(probe, interventions, folder)
        progress.say(
            f"{plan_.rows_total:,} questions ({len(probe.items):,} items x {rows * columns} cells "
            f"x {len(interventions)} interventions, each with its negatives); "
            f"{plan_.rows_total - plan_.rows_todo:,} are done"
        )
        if plan_.shards:
            from wheresight.lvlm.scoring import Scorer

            probe.check_pictures(item for shard in plan_.shards for item in shard.items)
            progress.say(f"Loading {request.model}")
            lvlm = load(
                card,
                dtype=request.dtype,
                device=request.device,
                attention=request.attention,
                trust_remote_code=request.trust_remote_code,
                allow_pickle=request.allow_pickle,
            )
            scorer = Scorer(lvlm, batch_size=request.batch_size, share_prefix=request.share_prefix)
            progress.start(plan_.rows_total, plan_.rows_total - plan_.rows_todo, "questions")
            try:
                execute(probe, plan_.shards, folder, scorer, progress.advance)
            finally:
                progress.stop()
        results, report = summarise_folder(
            folder, render=probe.render, replicates=request.replicates, progress=progress
        )
    return GridOutcome(results, folder.path, report, plan_.rows_todo)


def summarise_folder(
    folder: RunFolder,
    *,
    render: Any = None,
    replicates: int = 2000,
    progress: Progress | None = None,
) -> tuple[Results, Path]:
    """Make results.json and report.html from a folder's records; no model is needed.

    Args:
        folder: the run.
        render: recipe JSON to picture, or None to try the run's own source.
        replicates: bootstrap replicates.
    """
    from wheresight.report.build import write_report
    from wheresight.runs.summarise import summarise

    progress = progress or Silent()
    manifest = folder.manifest()
    records = folder.read()
    progress.say(f"Computing intervals from {records.num_rows:,} records")
    identity = manifest["identity"]
    results = summarise(
        records,
        configuration=identity,
        environment=Environment.capture(seeds={"run": identity["seed"]}),
        command=manifest["request"]["command"],
        replicates=replicates,
    )
    write(results, folder.path)
    progress.say("Drawing the report")
    report = write_report(folder.path, results, records, render or _renderer(identity))
    return results, report


def _renderer(identity: dict[str, Any]) -> Any:
    """Draws composites from the run's own source, if it is still there and unchanged."""
    from wheresight.stimuli.composites import Recipe
    from wheresight.stimuli.render import Renderer
    from wheresight.stimuli.sources import open_source

    try:
        source = open_source(identity["source"])  # the name carries columns and sample
    except WheresightError:
        return None  # the report says that pictures could not be drawn
    if source.fingerprint != identity["source_fingerprint"]:
        return None
    renderer = Renderer(source)
    return lambda recipe: renderer.render(Recipe.from_json(recipe))


def _interventions(given: Sequence[str]) -> list[str]:
    if not given:
        raise RunError("No intervention was given; expected at least one, such as none or bapa.")
    return list(dict.fromkeys(canonical(spec) for spec in given))


def _canvas(layout: str, picture_size: int | None) -> int:
    return PAPER_CANVAS if layout == "insert" or picture_size is None else picture_size


def _tile(
    request: GridRequest, grid: tuple[int, int], canvas: int, picture_size: int | None
) -> int:
    """Tiles that fill the canvas where it is the tower's own picture, so that cells fall alike on
    its patches; else the largest that leave the paper's gaps."""
    from wheresight.stimuli.composites import fitting_tile

    if request.layout == "swap" and not request.jitter and canvas == picture_size:
        return canvas // max(grid)
    return fitting_tile(*grid, (canvas, canvas))
