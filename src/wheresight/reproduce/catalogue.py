"""The entries that ship, by name."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from wheresight.errors import RunError, unknown_name
from wheresight.reproduce.entry import Entry, Paper, PaperModel

_HERE = Path(__file__).resolve().parent
FOLDER = _HERE / "entries"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def papers() -> dict[str, Paper]:
    """The papers by key, in the order they are listed in."""
    return {key: Paper.model_validate(one) for key, one in _read(_HERE / "papers.json").items()}


@functools.cache
def models() -> dict[str, PaperModel]:
    """The models that the papers measured, by key."""
    found = _read(_HERE / "models.json")
    return {key: PaperModel.model_validate(one) for key, one in found.items()}


@functools.cache
def entries() -> dict[str, Entry]:
    """Every entry by name: paper by paper, tables, then figures, then what has no number."""
    found = [
        Entry.model_validate(_read(file)) for paper in papers() for file in _files(FOLDER / paper)
    ]
    return {one.name: one for one in sorted(found, key=_order)}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _order(one: Entry) -> tuple[int, int, int, str]:
    paper, _, name = one.name.partition("/")
    for rank, kind in enumerate(("table", "figure")):
        number = name.removeprefix(kind)
        if number.isdigit():
            return list(papers()).index(paper), rank, int(number), name
    return list(papers()).index(paper), 2, 0, name


def names() -> dict[str, str]:
    """Every name and alias, and the name of the entry behind it."""
    found = {name: name for name in entries()}
    for name, one in entries().items():
        found.update(dict.fromkeys(one.aliases, name))
    return found


def entry(name: str) -> Entry:
    """The entry of a name or an alias.

    Raises:
        RunError: unknown name; the nearest are suggested.
    """
    known = names()
    if name not in known:
        raise RunError(
            unknown_name("table or figure", name, known).partition(" Known:")[0]
            + " `wheresight reproduce` lists all."
        )
    return entries()[known[name]]


def find(asked: list[str]) -> list[Entry]:
    """The entries of names, aliases and papers; a paper stands for all of its entries.

    Raises:
        RunError: unknown name.
    """
    found: dict[str, Entry] = {}
    for name in asked:
        whole = [one for key, one in entries().items() if key.startswith(f"{name}/")]
        for one in whole if name in papers() else [entry(name)]:
            found[one.name] = one
    return list(found.values())
