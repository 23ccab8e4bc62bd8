"""The grid probe as a task: the same picture at every place of a grid, with the same question."""

from __future__ import annotations

import base64
import functools
import io
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from anyio.to_thread import run_sync
from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from wheresight.bridges.inspect.yes_no import metrics, yes_no
from wheresight.errors import StimulusError, WheresightError, unknown_name
from wheresight.probes.grid import GridProbe
from wheresight.probes.protocols import PROTOCOLS
from wheresight.probes.questions import ask
from wheresight.runs.request import GridRequest, check_stimuli, grid_settings
from wheresight.stimuli.composites import Recipe
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.render import Renderer
from wheresight.stimuli.sources import open_source

# What stands for the weights, dtype and attention of a model that is not one of wheresight's.
UNKNOWN = "unknown"


@task
def grid_probe(
    source: str | list[str] = "pocket",
    items: int = 200,
    seed: int = 0,
    question: str | list[str] = "paper",
    protocol: str = "balanced",
    grid: str = "3x3",
    layout: str = "swap",
    canvas: int | None = None,
    tile: int | None = None,
    background: str = "white",
    jitter: int = 0,
    max_new_tokens: int = 16,
    reading: str = "first_word",
) -> Task:
    """Move the same picture over a grid and see whether the answer changes.

    The parameters are the options of `wheresight probe`; the samples are its questions.

    Args:
        source: where the image-caption pairs come from.
        items: key images, each shown in every cell.
        seed: of distractors, negatives and places.
        question: `paper`, `contains`, `short`, or text with {caption}.
        protocol: `balanced` asks matched negatives too; `paper` asks positives only.
        grid: rows and columns.
        layout: how the key moves: `swap` or `insert`.
        canvas: side of the square picture, pixels. Default: what the model's vision tower is fed,
            where the model is one of wheresight's and has such a size, else the paper's 840.
        tile: side of one picture in it, pixels. Default: as large as fits.
        background: colour around and between the pictures.
        jitter: shift each item's grid by up to so many pixels.
        max_new_tokens: the longest answer.
        reading: how Yes and No are read from an answer; see `yes_no`.
    """
    model = get_model()
    try:
        probe = _probe(
            GridRequest(
                out="",
                model=str(model),
                source=_typed(source),
                items=items,
                protocol=protocol,  # type: ignore[arg-type]
                question=_typed(question),
                generate=True,
                max_new_tokens=max_new_tokens,
                grid=grid,
                layout=layout,
                canvas=canvas,
                tile=tile,
                background=background,
                jitter=jitter,
                seed=seed,
                dtype=getattr(model.api, "dtype", UNKNOWN),
                attention=getattr(model.api, "attention", UNKNOWN),
            ),
            model.api,
        )
        scorer = yes_no(reading)
        name = f"grid_probe-{probe.source.name}"
        samples = MemoryDataset(list(_samples(probe)), name=name)
    except WheresightError as error:
        raise PrerequisiteError(str(error)) from None
    return Task(
        dataset=samples,
        # Not a part of the solver, so that another solver sees the pictures too.
        setup=show_composite(probe.source.name),
        solver=generate(),
        scorer=scorer,
        metrics=metrics(protocol),
        config=GenerateConfig(max_tokens=max_new_tokens, temperature=0.0),
        metadata=probe.settings.model_dump(mode="json"),
        version=1,
    )


@solver
def show_composite(source: str) -> Solver:
    """Draw a sample's composite, without loss, and put it before the question.

    Args:
        source: where its pictures come from.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        png = await run_sync(_png, source, state.metadata["recipe"])
        uri = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        message = state.user_prompt
        message.content = [ContentImage(image=uri), ContentText(text=message.text)]
        return state

    return solve


def _probe(request: GridRequest, api: Any) -> GridProbe:
    """The probe that is asked for, with the sizes that fit the model where they are known."""
    check_stimuli(request)
    if request.protocol not in PROTOCOLS:
        raise StimulusError(unknown_name("protocol", request.protocol, PROTOCOLS))
    source, _, _ = _opened(request.source)
    settings = grid_settings(
        request,
        source,
        weights=getattr(api, "weights", UNKNOWN),
        trained_under=getattr(api, "adapter_under", None),
        picture_size=getattr(api, "picture_size", None),
    )
    return GridProbe(settings, source, request.items)


def _samples(probe: GridProbe) -> Iterator[Sample]:
    s = probe.settings
    for composite in probe.shown(probe.items):
        for asked in composite.asks:
            row, column = divmod(composite.cell, s.columns)
            yield Sample(
                input=ask(s.question, asked.caption),
                target="Yes" if asked.expected else "No",
                id=f"{composite.item}-cell{composite.cell}-{asked.question}",
                metadata={
                    "item": composite.item,
                    "key": composite.key,
                    "cell": composite.cell,
                    "row": row,
                    "column": column,
                    "kind": asked.question,
                    "expected": asked.expected,
                    "caption": asked.caption,
                    "grid": f"{s.rows}x{s.columns}",
                    "protocol": s.protocol,
                    "recipe": composite.recipe.to_json(),
                },
            )


@functools.lru_cache(maxsize=2)
def _opened(source: str) -> tuple[Source, Renderer, threading.Lock]:
    found = open_source(source)
    return found, Renderer(found), threading.Lock()


def _png(source: str, recipe: str) -> bytes:
    _, renderer, alone = _opened(source)
    with alone:  # a renderer is not for several threads
        drawn = renderer.render(Recipe.from_json(recipe))
    held = io.BytesIO()
    drawn.save(held, format="PNG")
    return held.getvalue()


def _typed(given: str | Sequence[str]) -> str:
    """What was typed: Inspect's command line splits a value at its commas."""
    return given if isinstance(given, str) else ",".join(given)
