"""`wheresight tune`: choose a method's setting fairly, and report it once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.names import complete_benchmark, complete_intervention
from wheresight.cli.options import (
    AllowPickle,
    Attention,
    BatchSize,
    BootstrapSeed,
    Device,
    Dtype,
    Letters,
    MaxNewTokens,
    Model,
    RecordsFolder,
    Replicates,
    TrustRemoteCode,
)


def tune(
    out: RecordsFolder = "wheresight-tune",
    benchmark: Annotated[
        str,
        typer.Option(
            "--benchmark",
            "-b",
            help="What is split into a part to choose on and a part to report: 2ds, "
            "whatsup-a:FOLDER, own:TABLE, ... as in `wheresight evaluate`.",
            autocompletion=complete_benchmark,
        ),
    ] = "2ds",
    intervention: Annotated[
        str,
        typer.Option(
            "--intervention",
            "-i",
            help="A spec with values to choose among in braces; several lists make all "
            "combinations. Quote it. 'scalingvis:alpha={0.5,0.8,1.2,1.5,2}'",
            autocompletion=complete_intervention,
        ),
    ] = "",
    grid: Annotated[
        str,
        typer.Option(
            help="published: the method's published values for all parameters that are left out. "
            "given: only the values in braces."
        ),
    ] = "given",
    split: Annotated[
        str,
        typer.Option(
            help="sets: no set and no picture is in both parts. published: AdaptVis's split by "
            "rows, to compare with its numbers; it cuts sets and pictures."
        ),
    ] = "sets",
    transfer: Annotated[
        list[str] | None,
        typer.Option(
            "--transfer", "-t", help="Another benchmark to try the choice on. Repeat for several."
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="What to make high: accuracy, macro, chance-corrected, pairs, sets, "
            "balanced-accuracy."
        ),
    ] = "accuracy",
    reader: Annotated[
        str | None,
        typer.Option(
            help="How answers are read: logp, mean_logp, or, of generated text, exact, strict, "
            "first, last, letter, published. Default: logp; published if text is generated."
        ),
    ] = None,
    model: Model = "pocket",
    letters: Letters = False,
    max_new_tokens: MaxNewTokens = 0,
    blind: Annotated[
        bool, typer.Option("--blind/--no-blind", help="Ask about blank test pictures too.")
    ] = True,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    batch_size: BatchSize = 64,
    replicates: Replicates = 2000,
    seed: BootstrapSeed = 0,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Choose a method's setting on a validation part, and report it once on the test part.

    Of the test part only the model as it is and the chosen setting are run. The same command again
    goes on where it stopped.
    """
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.report.tuning import print_tuned
    from wheresight.report.tuning_page import PAGE
    from wheresight.runs.tune import run_tune
    from wheresight.runs.tune_plan import TuneRequest

    options: dict[str, Any] = {
        name: value for name, value in locals().items() if name in TuneRequest.__dataclass_fields__
    }
    request = TuneRequest(**{**options, "transfer": tuple(transfer or ())})
    console = Console()
    tuned = run_tune(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_tuned(tuned, console)
    console.print(f"\nRecords, tune.json and {PAGE}: {out}", highlight=False, soft_wrap=True)
