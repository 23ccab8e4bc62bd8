"""The command `wheresight`: one file per verb; errors are one sentence and exit code 2."""

from __future__ import annotations

import os
import sys

import typer

from wheresight.cli import (
    bench,
    compare,
    diagnose,
    doctor,
    estimate,
    evaluate,
    export,
    list_,
    pocket,
    probe,
    query,
    report,
    reproduce,
    serve,
    train,
    tune,
)
from wheresight.errors import WheresightError

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count

app = typer.Typer(
    name="wheresight",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Does it matter to a vision-language model where the thing is?",
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if version:
        from wheresight import __version__

        typer.echo(__version__)
        raise typer.Exit


app.command("probe")(probe.probe)
app.command("diagnose")(diagnose.diagnose)
app.command("evaluate")(evaluate.evaluate)
app.command("tune")(tune.tune)
app.command("compare")(compare.compare)
app.command("bench")(bench.bench)
app.command("estimate")(estimate.estimate)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("reproduce")(reproduce.reproduce)
app.command("query")(query.query)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.add_typer(list_.app, name="list")
app.add_typer(pocket.app, name="pocket")
app.add_typer(train.app, name="train")


def _prepare_environment() -> None:
    """Settings of libraries that are not imported yet; what the user has set stays."""
    # Threads of torch that wait for each other spin, and where another process has a core they do
    # little else: with GNU's default of 300,000 turns the probe was 14 times slower there. With
    # this many it is as fast as before on idle cores.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if not sys.stderr.isatty():
        # Bars of transformers and of the hub, which in a file are one line after the other.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def run() -> None:
    """Entry point: as `app`, with our errors as one sentence and exit code 2."""
    _prepare_environment()
    try:
        app()
    except WheresightError as error:
        typer.secho(f"wheresight: {error}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as leaving:
        # typer turns an interrupt into this exit code, without a word.
        if isinstance(leaving, SystemExit) and leaving.code != _INTERRUPTED:
            raise
        typer.echo(
            "\nStopped. Finished records are kept; the same command goes on from there.", err=True
        )
        sys.exit(_INTERRUPTED)
