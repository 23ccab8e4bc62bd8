"""`wheresight report`: results and pages again from records, without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wheresight.cli.options import (
    Replicates,
)

if TYPE_CHECKING:
    from rich.console import Console


def report(
    folders: Annotated[
        list[str],
        typer.Argument(
            help="Folders that wheresight wrote into, or folders that hold some.",
            metavar="DIR...",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="One page over all of them, an .html file. Default: a single folder's own page, "
            "made again in its place; for more, wheresight-report.html.",
        ),
    ] = None,
    replicates: Replicates = 2000,
) -> None:
    """Make results and pages again from records; no model is loaded.

    Several folders, or one that holds several, become one page: probes, evaluations, diagnostics,
    tunings, and robustness beside awareness.
    """
    from rich.console import Console

    from wheresight.runs.study import held_by

    console = Console()
    kind = held_by(folders[0]) if len(folders) == 1 and out is None else None
    if kind is None:
        _study(folders, out or "wheresight-report.html", replicates, console)
        return
    page = _again(folders[0], kind, replicates, console)
    console.print(f"\nReport: {page}", highlight=False, soft_wrap=True)


def _again(folder: str, kind: str, replicates: int, console: Console) -> str:
    """Make a folder's own page again, print its numbers, and return the page's address."""
    from wheresight.cli.progress import ConsoleProgress

    progress = ConsoleProgress(console)
    if kind == "Diagnostics":
        from wheresight.report.diagnostics.terminal import print_diagnosis
        from wheresight.runs.diagnose_findings import redraw

        diagnosis, page = redraw(folder, replicates=replicates, progress=progress)
        print_diagnosis(diagnosis, console)
    elif kind == "Evaluation":
        from wheresight.report.evaluation.terminal import print_evaluation
        from wheresight.runs import evaluate

        print_evaluation(evaluate.redraw(folder, replicates=replicates, progress=progress), console)
        page = evaluate.page_of(folder)
    elif kind == "Verdict":
        from wheresight.report.verdict.terminal import print_verdict
        from wheresight.runs.compare import redraw as redraw_verdict

        verdict, page = redraw_verdict(folder)
        print_verdict(verdict, console)
    elif kind == "Tuning":
        from wheresight.report.tuning import print_tuned
        from wheresight.runs.tune import redraw as redraw_tuning

        tuned, page = redraw_tuning(folder)
        print_tuned(tuned, console)
    else:
        from wheresight.report.terminal import print_results
        from wheresight.runs.outcome import summarise_folder
        from wheresight.runs.store import RunFolder

        run = RunFolder(folder)
        run.manifest()
        with run.lock():
            results, page = summarise_folder(run, replicates=replicates, progress=progress)
        print_results(results, console)
    return page


def _study(folders: list[str], out: str, replicates: int, console: Console) -> None:
    from pathlib import Path

    from rich.markup import escape

    from wheresight.cli.progress import ConsoleProgress
    from wheresight.errors import RunError
    from wheresight.report.build import write_file, write_samples
    from wheresight.runs.study import build, find

    page = Path(out)
    if page.suffix.lower() not in (".html", ".htm") or page.is_dir():
        raise RunError(f"--out was given as {out!r}; expected an .html file, such as report.html.")
    own = f"{page.stem}-samples"
    made = build(
        find(folders), folders, replicates=replicates, progress=ConsoleProgress(console),
        samples_at=own,
    )  # fmt: skip
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_samples(page.parent, own, made.samples)
        write_file(page, made.page.encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(
            f"The page {out!r} could not be written: {error}. Choose another --out."
        ) from error
    for one in made.missing:
        console.print(f"Not shown: {escape(one.folder)}: {escape(one.reason)}", highlight=False)
    console.print(
        f"\nReport of {made.parts} part{'s' * (made.parts != 1)}: {page.resolve().as_uri()}",
        highlight=False,
        soft_wrap=True,
    )
