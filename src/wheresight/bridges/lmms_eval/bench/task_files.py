"""lmms-eval's task files, read without it: which tasks there are, and what data they want."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wheresight.bridges.lmms_eval import TASKS
from wheresight.errors import RunError, unknown_name

_NAME = re.compile(
    r"""^(?:task|group)[ \t]*:[ \t]*["']?([\w.-]+)["']?[ \t]*(?:#.*)?$""", re.MULTILINE
)


class _Loader(yaml.SafeLoader):
    """Reads a task file; functions stay their names."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@dataclass(frozen=True)
class Dataset:
    """What a task reads.

    Attributes:
        path: a hub id, or a builder such as `json`.
        name: the configuration; None for the default one.
        split: the part that is asked.
    """

    path: str
    name: str | None
    split: str


def installed() -> Path:
    """The folder of lmms-eval's task files.

    Raises:
        RunError: if lmms-eval is not installed.
    """
    found = importlib.util.find_spec("lmms_eval")
    if found is None or found.origin is None:
        raise RunError(
            "wheresight bench runs lmms-eval, which is not installed here: "
            "pip install 'wheresight[lmms-eval]'."
        )
    return Path(found.origin).parent / "tasks"


@functools.cache
def index() -> dict[str, Path]:
    """The file of every task and group, ours included, by name."""
    found: dict[str, Path] = {}
    for folder in (installed(), TASKS):
        for path in sorted(folder.rglob("*.yaml")):
            for name in _NAME.findall(path.read_text(encoding="utf-8", errors="replace")):
                found.setdefault(name, path)
    return found


def parse(text: str) -> dict[str, Any]:
    """Lines of a task file; functions are their names."""
    return yaml.load(text, _Loader) or {}


def read(path: Path) -> dict[str, Any]:
    """A task file with what it includes."""
    config = parse(path.read_text(encoding="utf-8"))
    included = config.pop("include", [])
    whole: dict[str, Any] = {}
    for name in reversed([included] if isinstance(included, str) else included):
        beside = Path(name) if Path(name).is_file() else path.parent / name
        whole.update(read(beside))
    whole.update(config)
    return whole


def file_of(name: str, known: Sequence[str]) -> Path:
    """The file of a task or group.

    Raises:
        RunError: an unknown name; `known` are names that are no files of their own.
    """
    if name not in index():
        raise RunError(unknown_task(name, known))
    return index()[name]


def unknown_task(name: str, known: Sequence[str]) -> str:
    """The sentence for a task that lmms-eval has not, with the nearest that it has."""
    names = {*known, *index()}
    said = unknown_name("task", name, names).partition(" Known:")[0]
    return (
        f"{said} There are {len(names):,} tasks and groups: `lmms-eval tasks list` names them; "
        f"those of this package are {', '.join(sorted(known))}."
    )


def tasks_of(name: str, known: Sequence[str]) -> Iterator[str]:
    """The tasks of a name: itself, or those of a group."""
    config = read(file_of(name, known))
    inside = config.get("task")
    if isinstance(inside, list):
        for one in inside:
            yield from tasks_of(one if isinstance(one, str) else str(one["task"]), known)
    else:
        yield name


def dataset_of(config: dict[str, Any]) -> Dataset:
    """What a task file says of its data."""
    split = config.get("test_split") or config.get("validation_split") or "test"
    name = config.get("dataset_name")
    return Dataset(str(config.get("dataset_path", "")), None if name is None else str(name), split)
