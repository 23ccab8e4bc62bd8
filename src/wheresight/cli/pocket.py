"""`wheresight pocket`: train the small shipped model anew, measure it, or show its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    str, typer.Argument(help="pocket, pocket-qwen, pocket-gemma, or a folder of such a model.")
]

app = typer.Typer(
    no_args_is_help=True,
    help="The small LVLM that comes with the package: train it anew, measure it, show its card.",
)


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("pocket-model"),
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed; default: that of the shipped weights.")
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="full (the shipped recipe) or smoke (half a minute).")
    ] = "full",
    architecture: Annotated[
        str, typer.Option("--architecture", help="llava, qwen2_5_vl or gemma3.")
    ] = "llava",
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Folder with some of the parts, to go on from; the rest is trained."
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Folder to write before the last part too, for --from."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Measure the saved folder too.")
    ] = True,
) -> None:
    """Train from scratch on this machine's CPU; the defaults remake the shipped weights."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from wheresight.pocket.recipe import preset as find

    recipe = find(preset, seed, architecture)
    from wheresight.pocket.train import phases_left
    from wheresight.pocket.train import train as run

    phases = recipe.phases if start is None else phases_left(start, recipe)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>15}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars = {
            phase: progress.add_task(phase, total=steps, note="", start=False)
            for phase, steps in phases.items()
        }

        def report(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
            progress.start_task(bars[phase])
            shown = {
                "loss": "loss",
                "patches_right": "patches",
                "yes_no": "yes/no",
                "words": "words",
            }
            note = "  ".join(f"{text} {values[k]:.3f}" for k, text in shown.items() if k in values)
            progress.update(bars[phase], completed=step, total=steps, note=note)

        def say(text: str) -> None:
            progress.console.print(text)

        training = run(
            recipe,
            out,
            report,
            evaluate=evaluate and preset == "full",
            say=say,
            start=start,
            keep=keep,
        )
    from wheresight.pocket.curves import draw_curves

    draw_curves(training["curves"], out / "curves.png")
    console.print(f"{out} written in {training['seconds']['all'] / 60:.1f} minutes.")
    if "evaluation" in training:
        console.print(_table(training["evaluation"]))


@app.command()
def evaluate(
    model: Model = "pocket",
    grids: Annotated[int, typer.Option("--grids", min=1, help="3x3 grids.")] = 300,
    scenes: Annotated[int, typer.Option("--scenes", min=1, help="Natural scenes.")] = 600,
    seed: Annotated[int, typer.Option("--seed", help="Seed of grids and scenes.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Measure a folder against the bars that a pocket model must pass: matching, places, names.

    About two minutes for the defaults on 2 cores.
    """
    import json

    from rich.console import Console

    from wheresight.pocket.evaluate import evaluate_folder

    console = Console(stderr=True)
    result = evaluate_folder(
        _folder(model), grids, scenes, seed, progress=lambda text: console.print(text)
    )
    if as_json:
        typer.echo(json.dumps(result, indent=1))
    else:
        Console().print(_table(result))


@app.command()
def data(
    out: Annotated[Path, typer.Option("--out", "-o", help="Empty or new folder.")] = Path(
        "pocket-data"
    ),
    samples: Annotated[int, typer.Option("--samples", help="Scenes.")] = 10_000,
    turns: Annotated[int, typer.Option("--turns", help="Most questions about a scene.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Seed of scenes and questions.")] = 0,
) -> None:
    """Write conversations about new scenes, in the form of LLaVA's training data, for `train`."""
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.pocket.conversations import IMAGES, write_conversations
    from wheresight.pocket.emoji import load_things

    console = Console(highlight=False)
    progress = ConsoleProgress(console)
    progress.say("Reading the emoji")
    things = load_things()
    progress.start(samples, 0, "scenes")
    try:
        path = write_conversations(
            out, samples, seed=seed, turns=turns, things=things, advance=progress.advance
        )
    finally:
        progress.stop()
    console.print(f"{path} written; its pictures are in {out / IMAGES}.", soft_wrap=True)


@app.command()
def card(
    model: Model = "pocket",
) -> None:
    """Print the model card."""
    from wheresight.errors import ModelError

    path = _folder(model) / "README.md"
    if not path.is_file():
        raise ModelError(f"There is no model card at {path}. Give the folder of a pocket model.")
    typer.echo(path.read_text(encoding="utf-8"))


def _folder(model: str) -> Path:
    from wheresight.pocket import NAMES, model_folder

    return model_folder(model) if model in NAMES else Path(model)


def _table(evaluation: dict[str, Any]) -> Any:
    """All bars, then all tasks and grids, as one rich table."""
    from rich.table import Table

    table = Table(title="Pocket LVLM, measured on the saved folder")
    for heading in ("what", "bar", "measured", "n", "met"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, bar in evaluation["bars"].items():
        table.add_row(
            name, f"{bar['bar']:.2f}", f"{bar['measured']:.3f}", "", "yes" if bar["met"] else "no"
        )
    table.add_section()
    for name, grid in evaluation["grid"].items():
        for key in ("hit_mean", "false_alarm", "auc_mean", "hit_spread", "margin_spread"):
            label = f"grid, {name}: {key.replace('_', ' ')}"
            table.add_row(label, "", f"{grid[key]:.3f}", str(grid["n"]), "")
    table.add_section()
    for wording, tasks in (*evaluation["tasks"].items(), ("shapes", evaluation["shapes"])):
        for task, row in tasks.items():
            table.add_row(
                f"{task} ({wording})", "", f"{row['accuracy']:.3f}", f"{row['n']:.0f}", ""
            )
    return table
