"""`wheresight list`: what this installation knows by name."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="List what is known by name.")


@app.command()
def interventions() -> None:
    """Methods that --intervention takes."""
    from wheresight.interventions.registry import known_interventions

    for name in sorted(known_interventions()):
        typer.echo(name)


@app.command()
def models() -> None:
    """Models that come with the package."""
    from wheresight.lvlm.loading import named_models

    for name in sorted(named_models()):
        typer.echo(name)


@app.command("families")
def families_() -> None:
    """Model families that --model may belong to."""
    from wheresight.lvlm.families import families

    for name in families():
        typer.echo(name)


@app.command()
def questions() -> None:
    """Phrasings of the matching question."""
    from wheresight.probes.questions import QUESTIONS

    for name, text in QUESTIONS.items():
        typer.echo(f"{name}\n{text}\n")
