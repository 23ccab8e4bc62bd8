"""Data sets from a folder in place of the hub, without a change to any task.

`datasets.load_dataset("owner/name")` takes a folder of that name under the working directory before
it asks the hub. So lmms-eval is started in a folder where `owner/name` holds the files that were
given, and every task, also one that loads data by itself, runs as it is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from wheresight.bridges.lmms_eval.bench.task_files import Dataset
from wheresight.bridges.lmms_eval.bench.tasks import DERIVED
from wheresight.errors import RunError

_READ = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
_PICTURE = re.compile(r"image(_?\d+)?$")


def folder_of(data: Path, task: str, dataset: Dataset) -> Path | None:
    """Where a task's files are: DIR/TASK, DIR/OFFICIAL TASK, or DIR/owner/name; None if nowhere."""
    names = [task, *([DERIVED[task].official] if task in DERIVED else []), dataset.path]
    return next((data / name for name in names if (data / name).is_dir()), None)


def fingerprint(folder: Path) -> str:
    """What identifies a folder's files: names, sizes and times of change."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state = path.stat()
            name = path.relative_to(folder)
            digest.update(f"{name}:{state.st_size}:{state.st_mtime_ns};".encode())
    return digest.hexdigest()[:16]


def stage(folders: Mapping[str, Path], datasets: Mapping[str, Dataset], into: Path) -> None:
    """Make the folder in which lmms-eval finds the data.

    Args:
        folders: where each task's files are: a copy of the hub's repository (with the README.md
            that names its configurations), or data files of the task's columns, in a sub-folder
            for each configuration if the task reads several.
        datasets: what each task reads.
        into: made anew.

    Raises:
        RunError: a folder without data files, or two folders for one configuration.
    """
    if into.exists():
        shutil.rmtree(into)
    into.mkdir(parents=True)
    parts: dict[str, dict[str, tuple[str, list[Path]]]] = {}
    for task, folder in folders.items():
        dataset = datasets[task]
        place = into / dataset.path
        if "configs:" in _card(folder):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(folder.resolve(), target_is_directory=True)
            continue
        held = parts.setdefault(dataset.path, {})
        for name, files in _configurations(folder, dataset, task).items():
            if held.setdefault(name, (dataset.split, files)) != (dataset.split, files):
                raise RunError(
                    f"Two folders hold the configuration {name!r} of {dataset.path}, one of them "
                    f"{str(folder)!r}. Tasks that read the same data take them from one folder: "
                    "leave one out, or name it as the hub does."
                )
    for path, configurations in parts.items():
        _write(into / path, configurations)


def _card(folder: Path) -> str:
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def _configurations(folder: Path, dataset: Dataset, task: str) -> dict[str, list[Path]]:
    inside = {below.name: _files(below) for below in sorted(folder.iterdir()) if below.is_dir()}
    found = {name: files for name, files in inside.items() if files}
    own = dataset.name or "default"
    if files := _files(folder):
        found[own] = files
    if own not in found:
        raise RunError(
            f"The folder {str(folder)!r} has no data for the task {task!r}. Expected *.parquet, "
            f"*.jsonl, *.json or *.csv in it, or in {own!r} below it, in the columns of "
            f"{dataset.path} on the hub."
        )
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _READ)


def _write(place: Path, configurations: Mapping[str, tuple[str, list[Path]]]) -> None:
    """A folder as the hub has it: files, and a card that says which are whose."""
    listed = []
    for number, (name, (split, files)) in enumerate(configurations.items()):
        below = place / f"{number}"
        below.mkdir(parents=True)
        for n, file in enumerate(files):
            target = below / f"{n}.parquet"
            if file.suffix == ".parquet":
                target.symlink_to(file.resolve())
            else:
                _convert(file, target)
        listed.append(
            {
                "config_name": name,
                "data_files": [{"split": split, "path": f"{number}/*.parquet"}],
                "default": number == 0,
            }
        )
    card = yaml.safe_dump({"configs": listed}, sort_keys=False)
    (place / "README.md").write_text(f"---\n{card}---\n", encoding="utf-8")


def _convert(file: Path, target: Path) -> None:
    """A table of text as Parquet; columns named image hold paths beside it, and become pictures."""
    with tempfile.TemporaryDirectory() as cache:
        table = _table(file, cache)
        for column in [c for c in table.column_names if _PICTURE.match(c)]:
            table = _with_pictures(table, column, file)
        table.to_parquet(str(target))


def _table(file: Path, cache: str) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        return load_dataset(
            _READ[file.suffix], data_files=str(file), split="train", cache_dir=cache
        )
    except (DatasetGenerationError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise RunError(f"The file {str(file)!r} could not be read as a table: {reason}") from None


def _with_pictures(table: Any, column: str, file: Path) -> Any:
    from datasets import Image

    paths = [None if path is None else str(file.parent / path) for path in table[column]]
    missing = next((p for p in paths if p is not None and not Path(p).is_file()), None)
    if missing is not None:
        raise RunError(
            f"The file {str(file)!r} names the picture {missing!r}, which is not there. "
            "Expected paths from the folder of the file."
        )
    return table.remove_columns(column).add_column(column, paths).cast_column(column, Image())
