"""Everything here runs real Inspect; without it all of it is skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# What the tests of pages share.
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "docs"))
os.environ.setdefault("INSPECT_DISPLAY", "none")

Evaluate = Callable[..., Any]


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Evaluate:
    """Runs Inspect's own `eval` of the grid probe, and returns the log of a run that succeeded.

    `evaluate("wheresight/pocket", {"intervention": "bapa"}, items=2)`
    """
    from inspect_ai import eval

    folder: Path = tmp_path_factory.mktemp("logs")

    def run(
        model: Any, given: dict[str, Any] | None = None, *, more: Any = None, **task: Any
    ) -> Any:
        (log,) = eval(
            "wheresight/grid_probe",
            model=model,
            model_args=given or {},
            task_args=task,
            log_dir=str(folder),
            display="none",
            log_images=False,
            **(more or {}),
        )
        assert log.status == "success", log.error
        return log

    return run
