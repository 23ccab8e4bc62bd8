"""lmms-eval's side of wheresight: its model `wheresight`, task files, and what `bench` runs.

lmms-eval finds the model by the entry point `lmms_eval.models`, which names `manifest`. Nothing
here imports lmms-eval before it asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Task files of the probe and the benchmarks of spatial awareness, for lmms-eval's --include_path.
TASKS = Path(__file__).parent / "tasks"


def manifest() -> Any:
    """What lmms-eval registers: one model, in both of its two kinds.

    `chat` is what it takes unless told otherwise: a task's turns, pictures among the words, reach
    the model's own chat template as the task wrote them. lmms-eval asks chat models for texts
    alone, so tasks that compare likelihoods need the `simple` kind (`--force_simple`), whose
    prompt is the task's text behind its pictures.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    here = f"{__name__}.model"
    return ModelManifest("wheresight", f"{here}.SimpleModel", f"{here}.ChatModel")
