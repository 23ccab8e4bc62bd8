"""`wheresight estimate`: what a study would cost, from a few batches of it."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wheresight.cli.probe import probe
from wheresight.durations import exact

if TYPE_CHECKING:
    from wheresight.runs.estimate import Seconds, StudyEstimate

# Options of `probe` that decide nothing here: where records go, the report, who does the work.
_NOT_HERE = ("out", "replicates", "executor", "address", "workers", "picture_workers")


def _estimate(
    devices: Annotated[
        int, typer.Option(help="Devices like this one that would share the work.")
    ] = 1,
    batches: Annotated[
        int, typer.Option(help="Batches to run, after one to warm up. More narrow the range.")
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    **options: Any,
) -> None:
    """Run a few batches of a study; say how long all of it would take, and how much memory.

    Nothing is written. With --model skeleton:NAME (see: wheresight list models) weights are random,
    so that nothing needs to be downloaded.
    """
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.runs.adapter import interventions_of
    from wheresight.runs.estimate import estimate as run
    from wheresight.runs.request import GridRequest

    given = options.pop("intervention")
    chosen = interventions_of(given, options["adapter"], ["none", "bapa"], options["model"])
    options["protocol"] = options["protocol"].value
    request = GridRequest(out="", interventions=chosen, **options)
    found = run(
        request,
        devices=devices,
        batches=batches,
        progress=ConsoleProgress(Console(stderr=as_json)),
    )
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print(found)


def _with_options_of_probe(function: Any) -> Any:
    """The same command with the options of `probe` before its own."""

    def read(one: Any) -> list[inspect.Parameter]:
        hints = typing.get_type_hints(one, include_extras=True)
        return [
            parameter.replace(annotation=hints[name])
            for name, parameter in inspect.signature(one).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name not in _NOT_HERE
        ]

    function.__signature__ = inspect.Signature([*read(probe), *read(function)])
    return function


estimate = _with_options_of_probe(_estimate)


def _print(found: StudyEstimate) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from wheresight.skeletons import CAUTION

    console = Console(highlight=False)
    console.print(
        f"{found.items:,} items x {found.cells} cells: {found.composites:,} composites, "
        f"{found.questions:,} questions, {found.units:,} work units"
    )
    console.print(
        f"{escape(found.model)} in {found.dtype} on {found.device}: "
        f"{found.questions_per_second:,.1f} questions a second"
    )
    table = Table("", "time", f"{found.range_means.split(' from')[0]}")
    for one in found.interventions:
        table.add_row(f"{escape(one.intervention)} alone", *_times(one.seconds))
    if len(found.interventions) > 1 or found.devices == 1:
        table.add_row("all, on one device", *_times(found.one_device))
    if found.devices > 1:
        table.add_row(f"all, on {found.devices} devices", *_times(found.total))
    console.print(table)
    peak = found.memory.peak_bytes
    console.print(
        f"Memory of a device: weights {_gigabytes(found.memory.weights_bytes)}"
        + (f", {_gigabytes(peak)} at most ({found.memory.measured_as})" if peak else "")
    )
    console.print(
        f"The {escape(found.range_means)} of {found.items_per_batch} items, on a machine as busy "
        f"as now. Planning and loading took {exact(found.start_seconds)} and count once a "
        "device; writing, summary and report are not counted.",
        style="dim",
    )
    if found.random_weights:
        console.print(CAUTION, style="yellow")


def _times(seconds: Seconds) -> tuple[str, str]:
    return exact(seconds.value), f"{exact(seconds.low)} to {exact(seconds.high)}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
