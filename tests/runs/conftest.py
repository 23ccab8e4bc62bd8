"""Fixtures that tests of runs share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from jobs import Jobs, Undisturbed, parts_of

from wheresight.runs.store import RunFolder

# Ray's workers would run at the lowest priority, and starve where a machine has other work.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    made = Jobs(tmp_path_factory.mktemp("jobs"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    jobs.run(out)
    return Undisturbed(RunFolder(out).read(), parts_of(out))
