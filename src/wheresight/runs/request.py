"""What a run of the grid probe is asked for, and the model and pairs that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wheresight.errors import RunError, StimulusError
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.probes.questions import question_template
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.summarise import check_bootstrap
from wheresight.stimuli.composites import colour, fitting_tile, parse_grid
from wheresight.stimuli.layouts import layout as find_layout
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.sources import open_source

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard

# The paper's composites are 840 pixels wide; a tower that is fed a fixed size gets that size
# instead, so that tiles are scaled once and the grid's phase against the patches is known.
PAPER_CANVAS = 840


@dataclass(frozen=True)
class GridRequest:
    """What `wheresight probe` is asked for; each field is the option of the same name."""

    out: str
    model: str = "pocket"
    adapter: str | None = None
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
    batch_size: int | Literal["auto"] = 64
    share_prefix: bool | None = None
    replicates: int = 2000
    trust_remote_code: bool = False
    allow_pickle: bool = False
    executor: str = "local"
    address: str | None = None
    workers: int | None = None
    cores_per_worker: int | None = None
    picture_workers: int | None = None


def open_grid(request: GridRequest, progress: Progress) -> tuple[ModelCard, GridProbe]:
    """Find the model, open the source and settle what decides the records; load no weights.

    All that can be checked is checked, the cheapest first.
    """
    check_stimuli(request)
    if request.batch_size != "auto" and request.batch_size < 1:
        raise RunError(
            f"The batch size {request.batch_size} was given; expected 1 or more, or auto."
        )
    check_bootstrap(request.replicates)

    from wheresight.lvlm.loading import check_precision, look_up

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
    card = look_up(
        request.model, adapter=request.adapter, trust_remote_code=request.trust_remote_code
    )
    settings = grid_settings(
        request,
        source,
        weights=card.weights,
        trained_under=card.adapter.trained_under if card.adapter else None,
        picture_size=card.picture_size,
    )
    return card, GridProbe(settings, source, request.items)


def check_stimuli(request: GridRequest) -> None:
    """Raise StimulusError unless what is asked for can be shown, as far as no source tells."""
    question_template(request.question)
    if request.items < 1:
        raise StimulusError(f"{request.items} items were asked for; expected 1 or more.")
    parse_grid(request.grid)
    find_layout(request.layout)
    colour(request.background)


def grid_settings(
    request: GridRequest,
    source: Source,
    *,
    weights: str,
    trained_under: str | None,
    picture_size: int | None,
) -> GridSettings:
    """What decides the records of a request, for a model of which this is known.

    Args:
        request: what is asked for.
        source: opened.
        weights: what identifies the model's weights.
        trained_under: what its adapter was trained under, if it has one.
        picture_size: side of the square picture that its tower is fed, or None.
    """
    rows, columns = parse_grid(request.grid)
    canvas = request.canvas or _canvas(request.layout, picture_size)
    return GridSettings(
        model=request.model,
        model_revision=weights,
        adapter=trained_under,
        dtype=request.dtype,
        attention=request.attention,
        source=source.name,
        source_fingerprint=source.fingerprint,
        protocol=request.protocol,
        question=question_template(request.question),
        scoring="generate" if request.generate else "first_token",
        max_new_tokens=request.max_new_tokens if request.generate else None,
        rows=rows,
        columns=columns,
        layout=request.layout,
        canvas=canvas,
        tile=request.tile or _tile(request, (rows, columns), canvas, picture_size),
        background=request.background,
        jitter=request.jitter,
        seed=request.seed,
    )


def reopen_grid(request: GridRequest, settings: GridSettings) -> tuple[ModelCard, GridProbe]:
    """The same in another process or on another machine.

    Raises:
        RunError: if it is not what the run was planned with.
    """
    card, probe = open_grid(request, Silent())
    if probe.settings != settings:
        here, there = probe.settings.model_dump(), settings.model_dump()
        differ = ", ".join(k for k in there if here[k] != there[k])
        raise RunError(
            f"A worker sees another run than the one that was planned (it differs in {differ})."
            " Give every machine the same model and the same source."
        )
    return card, probe


def _canvas(layout: str, picture_size: int | None) -> int:
    return PAPER_CANVAS if layout == "insert" or picture_size is None else picture_size


def _tile(
    request: GridRequest, grid: tuple[int, int], canvas: int, picture_size: int | None
) -> int:
    """Tiles that fill the canvas where it is the tower's own picture, so that cells fall alike on
    its patches; else the largest that leave the paper's gaps."""
    if request.layout == "swap" and not request.jitter and canvas == picture_size:
        return canvas // max(grid)
    return fitting_tile(*grid, (canvas, canvas))
