"""`wheresight bench`: lmms-eval's benchmarks under several interventions."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.options import (
    Adapter,
    AllowPickle,
    Attention,
    BatchSize,
    BootstrapSeed,
    Device,
    Dtype,
    Interventions,
    Model,
    Replicates,
    TrustRemoteCode,
)


def bench(
    out: Annotated[
        str, typer.Option("--out", "-o", help="Local folder for answers, numbers and page.")
    ] = "wheresight-bench",
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            "-t",
            help="downstream (the paper's tables), or any task or group of lmms-eval, such as "
            "pope, gqa, cv_bench; several with commas, or repeat. Default: downstream.",
        ),
    ] = None,
    model: Model = "pocket",
    adapter: Adapter = None,
    intervention: Interventions = None,
    limit: Annotated[
        int | None, typer.Option(help="Ask only the first so many questions of each task.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder with a folder for each task, of Parquet, JSON or CSV files in the task's "
            "own columns. Default: the hub."
        ),
    ] = None,
    dtype: Dtype = "float32",
    device: Device = None,
    attention: Attention = "sdpa",
    batch_size: BatchSize = 8,
    replicates: Replicates = 2000,
    seed: BootstrapSeed = 0,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Run lmms-eval's benchmarks under each intervention: its tasks, its scores, our intervals.

    The same command again goes on where it stopped: a task that is finished under an intervention
    is not run again. Needs lmms-eval: pip install 'wheresight\\[lmms-eval]'.
    """
    from rich.console import Console

    from wheresight.bridges.lmms_eval.bench.page import PAGE
    from wheresight.bridges.lmms_eval.bench.run import BenchRequest, run_bench
    from wheresight.bridges.lmms_eval.bench.terminal import print_bench
    from wheresight.cli.progress import ConsoleProgress
    from wheresight.runs.adapter import interventions_of

    options: dict[str, Any] = {
        name: value for name, value in locals().items() if name in BenchRequest.__dataclass_fields__
    }
    names = [name.strip() for given in tasks or ["downstream"] for name in given.split(",")]
    options["tasks"] = tuple(name for name in names if name)
    request = BenchRequest(
        **options, interventions=interventions_of(intervention, adapter, ["none"], model)
    )
    console = Console()
    found = run_bench(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_bench(found, console)
    console.print(f"\nReport: {out.rstrip('/')}/{PAGE}", highlight=False, soft_wrap=True)
