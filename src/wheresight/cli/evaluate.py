"""`wheresight evaluate`: does the model know where things are?"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from wheresight.cli.batch_size import read_batch_size


def evaluate(
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for records and numbers; s3://... works too.")
    ] = "wheresight-evaluate",
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            "--benchmark",
            "-b",
            help="2ds, localisation, whatsup-a:FOLDER (also -b, -coco-one, -coco-two, -vg-one, "
            "-vg-two), vsr-zeroshot:FOLDER, vsr-random:FOLDER, own:TABLE; options behind #, such "
            "as 2ds#images=100,variant=texture. All take control=, part=, sample=, wording=. "
            "Repeat for several. Default: 2ds.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="pocket, a folder, a hub id of a supported LVLM, or skeleton:NAME for random "
            "weights (see: wheresight list models)."
        ),
    ] = "pocket",
    adapter: Annotated[
        str | None,
        typer.Option(
            help="Folder of a trained adapter (see: wheresight train). Interventions are applied "
            "as given; default: the one that it was trained under."
        ),
    ] = None,
    intervention: Annotated[
        list[str] | None,
        typer.Option(
            "--intervention",
            "-i",
            help="none, bapa, ... Repeat to compare several with the first. Default: none.",
        ),
    ] = None,
    letters: Annotated[
        bool, typer.Option("--letters", help="Put letters before the options and ask for one.")
    ] = False,
    max_new_tokens: Annotated[
        int,
        typer.Option(help="Generate so many tokens and read the text too. 0: score options only."),
    ] = 0,
    blind: Annotated[
        bool,
        typer.Option(
            "--blind/--no-blind", help="Ask about blank pictures too, under the first intervention."
        ),
    ] = True,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda:0, ... Default: the accelerator, if there is one.")
    ] = None,
    attention: Annotated[str, typer.Option(help="sdpa, eager or flash_attention_2.")] = "sdpa",
    batch_size: Annotated[
        Any,
        typer.Option(
            parser=read_batch_size,
            metavar="N|auto",
            help="Questions in one forward pass; auto tries out what is fastest. Halved when "
            "memory runs out.",
        ),
    ] = 64,
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Accept weights that are not safetensors.")
    ] = False,
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
        interventions=interventions_of(intervention, adapter, ["none"]),
    )
    console = Console()
    found = run_evaluate(
        request, command=["wheresight", *sys.argv[1:]], progress=ConsoleProgress(console)
    )
    print_evaluation(found, console)
    console.print(f"\nReport: {page_of(out)}", highlight=False, soft_wrap=True)
