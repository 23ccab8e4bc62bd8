"""Settings of this package's own tasks, as `wheresight bench` hands them to lmms-eval."""

from __future__ import annotations

import json
from pathlib import Path

from wheresight.bridges.lmms_eval import TASKS, settings
from wheresight.errors import RunError
from wheresight.stimuli.benchmarks import open_benchmark


def settings_of(name: str, folder: Path | None, picture_size: int | None) -> str:
    """The line of settings of one of our tasks, under what its environment variable says.

    Args:
        name: of the task.
        folder: given by the user, with a settings.jsonl; None for the usual settings.
        picture_size: side of the square picture that the model is fed, which the probe's pictures
            are drawn for, unless settings say otherwise; None where pictures keep their own size.

    Raises:
        RunError: a folder without such a file, or one that is no line of JSON.
        StimulusError: a benchmark that cannot be opened.
    """
    path = TASKS / "settings" / f"{name}.jsonl" if folder is None else folder / "settings.jsonl"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"The settings of {name}, {str(path)!r}, could not be read as one line of JSON "
            f"({error})."
        ) from None
    found = settings.settings_of([found], name.upper())
    if "picture_size" in found and found["picture_size"] is None:
        found["picture_size"] = picture_size
    if "benchmark" in found:
        found["fingerprint"] = _fingerprint(name, found)
    return json.dumps(found, sort_keys=True)


def _fingerprint(name: str, settings: dict[str, str]) -> str:
    """What identifies a benchmark's questions, which are read now so that faults are said early."""
    if not settings["benchmark"]:
        raise RunError(
            f"The task {name!r} needs local files. Set {name.upper()} to a benchmark's spec, such "
            f"as {settings['example']}; `wheresight list benchmarks` says where its files are from."
        )
    return open_benchmark(settings["benchmark"]).fingerprint


def task_lines(path: Path) -> str:
    """Lines of a task file that read its settings from this path."""
    return f"dataset_kwargs:\n  data_files:\n    test: {path}\n"
