"""`wheresight evaluate`: does the model know where things are?"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.names import complete_benchmark
from wheresight.cli.options import (
    Adapter,
    AllowPickle,
    Attention,
    AutoBatchSize,
    BootstrapSeed,
    Device,
    Dtype,
    Interventions,
    Letters,
    MaxNewTokens,
    Model,
    RecordsFolder,
    Replicates,
    TrustRemoteCode,
)


def evaluate(
    out: RecordsFolder = "wheresight-evaluate",
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            "--benchmark",
            "-b",
            help="2ds, localisation, whatsup-a:FOLDER (also -b, -coco-one, -coco-two, -vg-one, "
            "-vg-two), vsr-zeroshot:FOLDER, vsr-random:FOLDER, own:TABLE; options behind #, such "
            "as 2ds#images=100,variant=texture. All take control=, part=, sample=, wording=. "
            "Repeat for several. Default: 2ds.",
            autocompletion=complete_benchmark,
        ),
    ] = None,
    model: Model = "pocket",
    adapter: Adapter = None,
    intervention: Interventions = None,
    letters: Letters = False,
    max_new_tokens: MaxNewTokens = 0,
    blind: Annotated[
        bool,
        typer.Option(
            "--blind/--no-blind", help="Ask about blank pictures too, under the first intervention."
        ),
    ] = True,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    batch_size: AutoBatchSize = 64,
    replicates: Replicates = 2000,
    seed: BootstrapSeed = 0,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Ask where things are: benchmarks of spatial awareness, every scoring beside its baselines.

    The same command again goes on where it stopped: what has its records is not computed again.
    """
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.report.evaluation.terminal import print_evaluation
    from wheresight.runs.adapter import interventions_of
    from wheresight.runs.evaluate import EvaluateRequest, page_of, run_evaluate

    options: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name in EvaluateRequest.__dataclass_fields__
    }
    request = EvaluateRequest(
        **options,
        benchmarks=tuple(benchmark or ["2ds"]),
        interventions=interventions_of(intervention, adapter, ["none"], model),
    )
    console = Console()
    found = run_evaluate(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_evaluation(found, console)
    console.print(f"\nReport: {page_of(out)}", highlight=False, soft_wrap=True)
