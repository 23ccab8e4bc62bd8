"""Whether the data of tasks can be had, asked before a process is started for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wheresight.bridges.lmms_eval.bench.task_files import Dataset
from wheresight.errors import RunError

_SECONDS = 10.0


def check(datasets: Mapping[str, Dataset]) -> None:
    """Ask the hub for each data set that is in no cache.

    Args:
        datasets: what each task reads that has no local data.

    Raises:
        RunError: one that is neither in the cache nor to be had, and how to point at local data.
    """
    from datasets import config
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    asked: set[str] = set()
    for task, dataset in datasets.items():
        if "/" not in dataset.path or dataset.path in asked:
            continue
        asked.add(dataset.path)
        if (Path(config.HF_DATASETS_CACHE) / dataset.path.replace("/", "___")).is_dir():
            continue
        try:
            HfApi().dataset_info(dataset.path, timeout=_SECONDS)
        except HfHubHTTPError as error:
            raise RunError(
                f"The hub does not give {dataset.path}, the data of the task {task!r}: "
                f"{_reason(error)} Log in (hf auth login) if it asks for that, or put the files "
                f"into DIR/{task} and add --data DIR."
            ) from None
        except Exception as error:  # of requests or of httpx, by the hub library's version
            raise RunError(
                f"The hub cannot be reached ({_reason(error)}), and {dataset.path}, the data of "
                f"the task {task!r}, is in no cache here. Put its files into DIR/{task} and add "
                "--data DIR."
            ) from None


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said[:200]
