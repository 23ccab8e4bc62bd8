"""lmms-eval's evaluator in this process: many tasks for one import, one index of tasks."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wheresight.bridges.lmms_eval.arguments import model_arguments

# What `lmms-eval eval` has when nothing is said.
COMMAND_LINE = argparse.Namespace(
    process_with_media=False,
    reasoning_tags='[["<think>", "</think>"], ["<analysis>", "</analysis>"]]',
    agentic_trace_mode="basic",
    output_path=None,
)


@functools.cache
def task_manager(include: Path) -> Any:
    from lmms_eval.tasks import TaskManager

    return TaskManager("ERROR", include_path=str(include), model_name="wheresight")


def evaluate(
    tasks: Sequence[str],
    include: Path,
    spec: str,
    batch_size: int,
    *,
    simple: bool = False,
    **arguments: Any,
) -> dict[str, Any]:
    """Results and samples of tasks, as `lmms-eval eval` makes them."""
    from lmms_eval.evaluator import simple_evaluate

    given = {"pretrained": "pocket", "intervention": spec, "device": "cpu", "keep": True}
    found = simple_evaluate(
        model="wheresight",
        model_args=model_arguments({**given, **arguments}),
        tasks=list(tasks),
        batch_size=batch_size,
        task_manager=task_manager(include),
        bootstrap_iters=0,
        log_samples=True,
        cli_args=COMMAND_LINE,
        force_simple=simple,
        verbosity="ERROR",
    )
    assert isinstance(found, dict)
    return found
