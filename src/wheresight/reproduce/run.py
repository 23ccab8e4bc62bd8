"""Do an entry's commands with one model, and write what they found beside what is printed."""

from __future__ import annotations

import datetime
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wheresight import __version__
from wheresight.errors import RunError
from wheresight.reproduce.catalogue import models, papers
from wheresight.reproduce.entry import Entry, Work
from wheresight.reproduce.reading import Held, Line, held, lines, put_in

POCKET = "pocket"
FILE_NAME = "reproduced.json"
TOY = (
    "The pocket model is a toy trained on emoji scenes: what it shows is that the commands and the "
    "measures work and what they look like. Its numbers are not the paper's, and say nothing of "
    "large models."
)


class Reproduced(BaseModel):
    """The whole of reproduced.json: an entry, what was run, and what was found."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    schema_version: Literal[1] = 1
    wheresight: str = Field(description="Version of wheresight.")
    date: str = Field(description="UTC time at which numbers were read, ISO 8601.")
    entry: Entry = Field(description="The table or figure, as it ships.")
    model: str = Field(description="As --model was given.")
    commands: list[str] = Field(description="What was run, one shell command each.")
    ours: list[Line] = Field(description="What was measured.")
    claims: list[Held] = Field(description="Statements of the paper beside our differences.")
    caution: str | None = Field(description="What to know before reading any number.")


# A place for a value in a command; lists of values to tune stand in braces too.
_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Job:
    """An entry with a model and everything that its commands need.

    Attributes:
        entry: the table or figure.
        model: as --model takes it.
        folder: where everything of this entry goes.
        work: what is done.
        values: what stands for {names}.
    """

    entry: Entry
    model: str
    folder: Path
    work: Work
    values: Mapping[str, str]

    @property
    def commands(self) -> list[list[str]]:
        """Arguments behind `wheresight`, ready to be run."""
        return [[put_in(word, self.values) for word in one] for one in self.work.commands]


def job(entry: Entry, model: str, out: str | Path, given: Mapping[str, str]) -> Job:
    """Settle what is run; nothing is run.

    Args:
        entry: the table or figure.
        model: pocket, a folder, a hub id, or skeleton:NAME.
        out: folder; each entry has its own below.
        given: what the user gave for the entry's needs, by name.

    Raises:
        RunError: if there is nothing to run, or something is not given.
    """
    work = entry.work(model == POCKET)
    if work is None or not work.commands:
        why = entry.cannot or "It needs data that the pocket model cannot answer."
        raise RunError(f"There is nothing to run for {entry.name} with {model}. {why}")
    folder = Path(out) / entry.name / _slug(model)
    own = next((one.values for one in models().values() if one.hub == model), {})
    values = {**work.values, **own, **given, "model": model, "out": str(folder)}
    places = dict.fromkeys(name for one in work.commands for w in one for name in _PLACE.findall(w))
    missing = [name for name in places if not values.get(name)]
    if missing:
        told = [f"--set {name}=... ({work.needs.get(name, 'a value of it')})" for name in missing]
        raise RunError(f"{entry.name} with {model} needs {'; '.join(told)}.")
    known = [name for name in places if name not in ("model", "out")]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise RunError(
            f"{entry.name} has no {unknown[0]!r} to set. It has: {', '.join(known) or 'none'}."
        )
    return Job(entry, model, folder, work, values)


def _slug(model: str) -> str:
    """A model's name as a folder's."""
    return re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2]) or "model"


def shown(arguments: list[str]) -> str:
    """A command as a shell takes it."""
    return shlex.join(["wheresight", *arguments])


def run(one: Job, say: Callable[[str], None]) -> Reproduced:
    """Run every command, each in a process of its own, and read what they found.

    Commands go on where they stopped, so the same call after an interruption goes on too.

    Raises:
        RunError: if a command fails, which has said why by then.
    """
    one.folder.mkdir(parents=True, exist_ok=True)
    for number, arguments in enumerate(one.commands, 1):
        say(f"{number} of {len(one.commands)}: {shown(arguments)}")
        _run(arguments, one.folder)
    found = Reproduced(
        wheresight=__version__,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        entry=one.entry,
        model=one.model,
        commands=[shown(arguments) for arguments in one.commands],
        ours=lines(one.work.reads, one.folder, one.values),
        claims=held(one.work.claims, one.entry, one.folder, one.values),
        caution=TOY if one.model == POCKET else None,
    )
    (one.folder / FILE_NAME).write_text(found.model_dump_json(indent=1), encoding="utf-8")
    return found


def _run(arguments: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "wheresight", *arguments]
    kept = subprocess.PIPE if "--json" in arguments else None
    done = subprocess.run(command, stdout=kept, text=True)
    if kept is not None and not done.returncode:
        (folder / f"{arguments[0]}.json").write_text(done.stdout, encoding="utf-8")
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise RunError(
            f"`{shown(arguments)}` ended with exit code {done.returncode}; what it said stands "
            "above. The same `wheresight reproduce` goes on from there."
        )


def commands_for(entry: Entry) -> list[tuple[str, list[str]]]:
    """The exact commands for every model of the paper; what the user gives is in capitals."""
    work = entry.full
    if work is None:
        return []
    found = []
    for key in entry.models:
        model = models()[key]
        if model.hub is None:
            continue
        values = {
            **{name: name.upper() for name in work.needs},
            **work.values,
            **model.values,
            "model": model.hub,
            "out": f"reproduced/{entry.name}/{key}",
        }
        made = [shown([put_in(word, values) for word in one]) for one in work.commands]
        # Words in capitals are put in by hand, so they are not quoted.
        found.append((model.name, [re.sub(r"'([A-Z:_/#]+)'", r"\1", text) for text in made]))
    return found


def cite(entry: Entry) -> str:
    """Where an entry stands, in one line."""
    source = entry.source
    where = [source.place]
    if source.section:
        where.append(f"section {source.section}" if source.section[0].isdigit() else source.section)
    where += [f"page {source.page}"] if source.page else []
    paper = papers()[source.paper]
    return f"{paper.title}, arXiv {paper.arxiv}, {', '.join(where)} (known from: {source.known})"
