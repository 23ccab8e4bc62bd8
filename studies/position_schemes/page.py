"""results.json, the answers, the pictures and the page, all from the cells that are whole."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import figures
import measure
import models
import pyarrow as pa
import pyarrow.parquet as pq
from design import REFERENCE, Cell, Design
from measure import Measured
from summary import MEASURES, Number, number, summarise
from world import KINDS

from wheresight.errors import RunError

RESULTS, ANSWERS, PAGE = "results.json", "answers.parquet", "README.md"
_SHOWN = ("accuracy", "worst", "delta", "strict", "2ds", "localisation")
_WORDS = {
    "accuracy": "balanced accuracy",
    "worst": "accuracy in the worst cell",
    "strict": "being right in every cell",
    "2ds": "2DS",
    "localisation": "localisation",
}


def write_all(design: Design, wanted: Sequence[Cell], out: Path, to: Path) -> list[Path]:
    """Write everything that is committed; the files.

    Raises:
        RunError: if no cell is whole.
    """
    done = [found for cell in wanted if (found := measure.finished(design, cell, out)) is not None]
    if not done:
        raise RunError(f"No cell in {str(out)!r} is whole. Make one: run.py --cell none-seed0.")
    results = collected(design, done, len(wanted))
    to.mkdir(parents=True, exist_ok=True)
    (to / RESULTS).write_text(json.dumps(results, indent=1) + "\n")
    pq.write_table(_joined(done), to / ANSWERS, compression="zstd", use_dictionary=True)
    (to / PAGE).write_text(render(results))
    return [to / RESULTS, to / ANSWERS, to / PAGE, *figures.draw_all(results, to / "figures")]


def collected(design: Design, done: Sequence[Measured], wanted: int) -> dict[str, Any]:
    """What results.json holds: the numbers, and all that the page says of how they were made."""
    return {
        "design": asdict(design),
        "tower": models.tower_revision(),
        "wanted": wanted,
        "versions": _versions(),
        "processor": _processor(),
        "dates": _dates(done),
        **summarise(done),
        "cells": [_cell(one) for one in done],
    }


def render(results: dict[str, Any]) -> str:
    """The page, from results.json alone."""
    scratch, adapted = (
        [e for e in results["schemes"] if e["adapted"] == way] for way in (False, True)
    )
    return _template().render(
        design=results["design"],
        measuring=results["design"]["measuring"],
        training=results["design"]["training"],
        tower=results["tower"],
        cells=len(results["cells"]),
        wanted=results["wanted"],
        seeds=len(results["seeds"]),
        minutes=[
            (cell["processor_seconds"] + cell["measuring_processor_seconds"]) / 60
            for cell in results["cells"]
        ],
        compared=_compared(results),
        made=_made(results),
        learned=_learned(scratch),
        holds_scratch=_holds(scratch, "From scratch"),
        holds_adapted=_holds(
            adapted, "Adapted by LoRA, against LoRA under none with the same data"
        ),
        more_training=_more_training(scratch, adapted),
        table_scratch=_table(scratch),
        table_adapted=_table(adapted),
        differences=_differences([*scratch, *adapted]),
        readings=_readings([*scratch, *adapted]),
        learning=_learning(results["cells"]),
        projector=_projector(results["design"]["training"]),
    )


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("page.md.jinja")


def _projector(training: dict[str, Any]) -> str:
    share = training["projector_share"]
    if not share:
        return "then frozen in all cells"
    return f"and goes on learning with the decoder at {share:g} of its rate in all cells"


def _learned(scratch: Sequence[dict[str, Any]]) -> str:
    entry = next(e for e in scratch if e["scheme"] == REFERENCE)
    lines = ["| | right, % | over pictures | over seeds | guessing |", "|---|---|---|---|---|"]
    floor = {"accuracy": "50", "strict": "about 0", "2ds": "0", "localisation": "0"}
    for name, guess in floor.items():
        found = number(entry["measures"][name])
        lines.append(
            f"| {_WORDS[name]} | {_written(found.value)} | {_ends(found.items)} | "
            f"{_ends(found.seeds)} | {guess} |"
        )
    where = number(entry["measures"]["awareness"])
    ends = [end for end in (*where.items, *where.seeds) if end == end]
    lines.append("")
    if ends and min(ends) > 0.5:
        lines.append("It knows where things are, so a scheme can lose much there.")
    elif ends and min(ends) > 0:
        lines.append(
            "It knows where things are better than guessing, and by far not always: what a scheme "
            "does to awareness is seen on a part of the scale alone."
        )
    else:
        lines.append(
            "Above guessing at places it is not, beyond doubt: **nothing can be said of awareness "
            "at this budget.**"
        )
    return "\n".join(lines)


def _holds(entries: Sequence[dict[str, Any]], title: str) -> str:
    """What is settled; what seeds agree in without settling it; what is neither."""
    settled, agreed, nothing = [], [], []
    for entry in entries:
        if "differences" not in entry:
            continue
        scheme = f"`{entry['scheme']}`"
        found = {name: number(entry["differences"][name]) for name in _WORDS}
        certain = [_points(name, one) for name, one in found.items() if one.settled]
        alike = [
            _points(name, one) for name, one in found.items() if one.agreed and not one.settled
        ]
        if certain:
            settled.append(f"- {scheme}: {', '.join(certain)}.")
        if alike:
            agreed.append(f"- {scheme}: {', '.join(alike)}.")
        if not certain and not alike:
            nothing.append(scheme)
    if not settled and not agreed and not nothing:
        return f"**{title}**: no scheme is whole in all seeds yet."
    said = f"**{title}.** "
    said += "Settled:\n\n" + "\n".join(settled) if settled else "No difference is settled."
    if agreed:
        said += "\n\nNot settled, though of one sign in every seed and beyond 0 over pictures:\n\n"
        said += "\n".join(agreed)
    if nothing:
        names = ", ".join(nothing)
        said += f"\n\nNothing of either kind, which is not proof of no difference: {names}."
    return said


def _points(name: str, one: Number) -> str:
    return f"{_WORDS[name]} {_written(one.value, signed=True)} points"


def _more_training(scratch: Sequence[dict[str, Any]], adapted: Sequence[dict[str, Any]]) -> str:
    """What LoRA under none does by itself."""
    pair = [next((e for e in way if e["scheme"] == REFERENCE), None) for way in (scratch, adapted)]
    if pair[0] is None or pair[1] is None:
        return ""
    said = []
    for name in ("accuracy", "awareness"):
        before, after = (number(entry["measures"][name]).value for entry in pair if entry)
        said.append(f"{MEASURES[name]} {_written(before)} % before, {_written(after)} % after")
    return f"The control, LoRA under `none`, by itself: {'; '.join(said)}."


def _learning(cells: Sequence[dict[str, Any]]) -> str:
    """What is right in the last steps of the cells from scratch, by kind of question."""
    last = [cell["curve"][-1] for cell in cells if not cell["adapted"]]
    said = []
    for kind in KINDS:
        shares = [point[kind] for point in last if kind in point]
        if shares:
            said.append(f"`{kind}` {_written(min(shares))} to {_written(max(shares))}")
    return f"In its last steps, least to greatest of all cells, %: {'; '.join(said)}."


def _table(entries: Sequence[dict[str, Any]]) -> str:
    if not entries:
        return "No scheme is whole in all seeds yet."
    lines = [
        f"| scheme | {' | '.join(MEASURES[name] for name in _SHOWN)} |",
        f"|---|{'---|' * len(_SHOWN)}",
    ]
    for entry in entries:
        cells = []
        for name in _SHOWN:
            found = number(entry["measures"][name])
            cells.append(f"{_shown(name, found.value)} ({_interval(name, found.items)})")
        lines.append(f"| `{entry['scheme']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(entries: Sequence[dict[str, Any]]) -> str:
    compared = [entry for entry in entries if "differences" in entry]
    if not compared:
        return "None can be made yet."
    lines = [
        f"| scheme | {' | '.join(MEASURES[name] for name in _SHOWN)} |",
        f"|---|{'---|' * len(_SHOWN)}",
    ]
    for entry in compared:
        cells = []
        for name in _SHOWN:
            found = number(entry["differences"][name])
            text = (
                f"{_shown(name, found.value, signed=True)}; {_interval(name, found.items)}; "
                f"{_interval(name, found.seeds)}"
            )
            cells.append(f"**{text}**" if found.settled else text)
        way = ", LoRA" if entry["adapted"] else ""
        lines.append(f"| `{entry['scheme']}`{way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _readings(entries: Sequence[dict[str, Any]]) -> str:
    names = ("tokens moved", "ids moved", "no picture", "norm ratio")
    lines = [f"| scheme | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for entry in entries:
        cells = []
        for name in names:
            found = number(entry["readings"][name])
            low, high = found.seeds
            ends = f" ({low:.2f} to {high:.2f})" if low == low else ""
            cells.append(f"{found.value:.2f}{ends}")
        way = ", LoRA" if entry["adapted"] else ""
        lines.append(f"| `{entry['scheme']}`{way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _compared(results: dict[str, Any]) -> int:
    return sum("differences" in entry for entry in results["schemes"]) * len(_WORDS)


def _shown(name: str, value: float, signed: bool = False) -> str:
    if name == "delta":
        return f"{value:+.1f}" if signed else f"{value:.1f}"
    return _written(value, signed)


def _interval(name: str, ends: Sequence[float]) -> str:
    low, high = ends
    return "-" if low != low else f"{_shown(name, low)} to {_shown(name, high)}"


def _ends(ends: Sequence[float]) -> str:
    return _interval("accuracy", ends)


def _written(share: float, signed: bool = False) -> str:
    text = f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}"
    return text.lstrip("+-") if not text.strip("+-0.") else text


def _cell(one: Measured) -> dict[str, Any]:
    return {
        "name": one.cell.name,
        "scheme": one.cell.scheme,
        "adapted": one.cell.adapted,
        "seed": one.cell.seed,
        **{k: v for k, v in one.record.items() if k != "cell"},
    }


def _joined(done: Sequence[Measured]) -> pa.Table:
    tables = []
    for one in done:
        name = pa.array([one.cell.name] * one.answers.num_rows, pa.string())
        tables.append(one.answers.add_column(0, "model", name))
    return pa.concat_tables(tables)


def _made(results: dict[str, Any]) -> str:
    """On what, with what and when the cells were made."""
    first, last = results["dates"]
    versions = results["versions"]
    when = first if first == last else f"{first} to {last}"
    software = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "transformers"))
    return f"{results['processor']} ({versions['machine']}, no GPU), {software}; {when}"


def _versions() -> dict[str, str]:
    from wheresight.pocket.train import versions

    return versions()


def _processor() -> str:
    """The processor's name where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "a processor that has no name"


def _dates(done: Sequence[Measured]) -> tuple[str, str]:
    """The days of the first and the last cell."""
    days = sorted(
        datetime.fromtimestamp(one.record["finished"], UTC).date().isoformat() for one in done
    )
    return days[0], days[-1]
