"""Fixtures of the lmms-eval bridge; lmms-eval itself is real, and installed for these tests alone.

`make test-bridges` runs them in an environment of their own. Where lmms-eval is not installed,
tests that need it are skipped.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

NEED_IT = ("test_model.py", "test_tasks.py", "test_own_tasks.py", "test_bench.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs lmms-eval where it is not."""
    if importlib.util.find_spec("lmms_eval") is not None:
        return
    why = pytest.mark.skip(reason="lmms-eval is not installed here: make test-bridges runs this")
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name in NEED_IT:
            item.add_marker(why)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for --data: a folder for each task, in its own columns."""
    from small_data import write_all

    folder = tmp_path_factory.mktemp("local")
    write_all(folder)
    return folder
