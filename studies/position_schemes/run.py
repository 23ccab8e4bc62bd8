"""The controlled study of position schemes: all of it, or one cell.

python studies/position_schemes/run.py                      # goes on where it stopped
python studies/position_schemes/run.py --cell bapa-seed1    # one cell, and what it starts from
python studies/position_schemes/run.py --page               # numbers, pictures and page alone
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from design import DESIGNS, Cell, Design, cells

from wheresight.errors import RunError, WheresightError, unknown_name

HERE = Path(__file__).resolve().parent
SEEDS = 3
# Without these the C library gives memory back after every operation and faults it in again, which
# took a sixth of the time.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
# Before anything is measured: how much longer a cell from scratch takes than an adapted one.
_WEIGHT = {False: 4.0, True: 1.4}


@dataclass
class _Running:
    cell: Cell
    process: subprocess.Popen[bytes]
    began: float


def main(
    out: Annotated[Path, typer.Option(help="Folder for weights and records.")] = HERE / "run",
    cell: Annotated[str | None, typer.Option(help="One cell, such as bapa-lora-seed1.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of every scheme.")] = SEEDS,
    workers: Annotated[int, typer.Option(help="Processes, of one thread each.")] = 2,
    design: Annotated[str, typer.Option(help="full, or smoke to see that it works.")] = "full",
    page: Annotated[
        bool, typer.Option("--page", help="Make numbers, pictures and page from what is there.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Where results.json, figures/ and README.md are written.",
            show_default="beside this script; for less than the whole study, page/ in --out",
        ),
    ] = None,
) -> None:
    """Train and measure every cell, then write the numbers, the pictures and the page."""
    try:
        if design not in DESIGNS:
            raise RunError(unknown_name("design", design, DESIGNS))
        if seeds < 1 or workers < 1:
            raise RunError(f"{seeds} seeds and {workers} workers were given; expected 1 or more.")
        chosen, out = DESIGNS[design], out.resolve()
        if cell is not None:
            one(chosen, Cell.read(cell), out)
            return
        if not page:
            every(design, cells(seeds), out, workers)
        from page import write_all

        # What is committed is of the whole study; less must not take its place unasked.
        to = to or (HERE if design == "full" and seeds >= SEEDS else out / "page")
        for path in write_all(chosen, cells(seeds), out, to):
            typer.echo(f"wrote {path}")
    except WheresightError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def one(design: Design, cell: Cell, out: Path) -> None:
    """Train and measure one cell here, on one thread."""
    import torch
    from measure import finished, measured
    from rich.console import Console

    from wheresight.cli.progress import ConsoleProgress

    torch.set_num_threads(1)

    def report(name: str, step: int, steps: int, values: dict[str, float]) -> None:
        left = values["seconds"] / step * (steps - step)
        said = ", ".join(
            f"{key} {value:.2f}" for key, value in values.items() if key not in ("step", "seconds")
        )
        typer.echo(f"{name} {step}/{steps}, {left / 60:.1f} min left: {said}")

    progress = ConsoleProgress(Console())
    base = cell.base
    with _Alone(out, cell):
        if base is not None and finished(design, base, out) is None:
            with _Alone(out, base):
                measured(design, base, out, report, progress)
        folder = measured(design, cell, out, report, progress)
    typer.echo(f"{cell.name} is whole: {folder}")


def every(design: str, wanted: Sequence[Cell], out: Path, workers: int) -> None:
    """Run all cells that are not whole, some at once, each in a process of its own.

    Raises:
        RunError: if some failed; what they said is in their logs, and the others are done.
    """
    from measure import finished

    begun = time.monotonic()
    done = {c for c in wanted if finished(DESIGNS[design], c, out) is not None}
    left = [c for c in wanted if c not in done]
    typer.echo(f"{len(wanted)} cells, {len(done)} are whole, {workers} at once")
    failed: list[Cell] = []
    running: list[_Running] = []
    weight_done = 0.0
    try:
        while left or running:
            ready = [c for c in left if c.base is None or c.base in done]
            while ready and len(running) < workers:
                left.remove(ready[0])
                running.append(_started(design, ready.pop(0), out))
            if not running:
                break  # what is left waits for cells that failed
            time.sleep(0.5)
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                minutes = (time.monotonic() - job.began) / 60
                if job.process.returncode:
                    failed.append(job.cell)
                    typer.echo(f"{job.cell.name} failed: see {_log(out, job.cell)}", err=True)
                    continue
                done.add(job.cell)
                weight_done += _WEIGHT[job.cell.adapted]
                ahead = sum(_WEIGHT[c.adapted] for c in (*left, *(j.cell for j in running)))
                hours = (time.monotonic() - begun) / weight_done * ahead / 3600
                typer.echo(
                    f"{job.cell.name}: {minutes:.1f} min; {len(done)} of {len(wanted)} cells, "
                    f"about {hours:.1f} h left"
                )
    finally:
        for job in running:
            job.process.terminate()
    if failed:
        names = ", ".join(c.name for c in failed)
        raise RunError(
            f"{len(failed)} cells failed ({names}), and {len(left)} that start from them were not "
            f"begun. Read their logs in {out / 'logs'}; the same command goes on."
        )


def _log(out: Path, cell: Cell) -> Path:
    return out / "logs" / f"{cell.name}.log"


def _started(design: str, cell: Cell, out: Path) -> _Running:
    log = _log(out, cell)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), "--cell", cell.name]
    command += ["--out", str(out), "--design", design]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_MEMORY, "OMP_NUM_THREADS": "1"},
        )
    return _Running(cell, process, time.monotonic())


class _Alone:
    """Holds a cell, so that no other process makes it at the same time."""

    def __init__(self, out: Path, cell: Cell) -> None:
        self._path = out / "locks" / cell.name
        self._cell = cell

    def __enter__(self) -> None:
        import fcntl

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("w")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"The cell {self._cell.name} is being made by another process. Wait for it, or "
                "give another --out."
            ) from None

    def __exit__(self, *_: object) -> None:
        self._stream.close()


if __name__ == "__main__":
    typer.run(main)
