"""Records as bytes: the same table again, read by nobody but the thread that asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from wheresight.runs.parquet_bytes import from_bytes, to_bytes

TABLE = pa.table({"item": ["a", "b"], "margin": [0.5, -1.25], "ids": [[1, 2], []]})


def test_the_same_table_comes_back() -> None:
    assert from_bytes(to_bytes(TABLE)).equals(TABLE)
    assert to_bytes(TABLE) == to_bytes(TABLE)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(pa.ArrowException):
        from_bytes(to_bytes(TABLE)[:-4])


TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not TASKS.is_dir(), reason="threads are counted in /proc")
def test_no_thread_is_left_that_could_hold_the_bytes() -> None:
    """Such a thread, letting go of them while the interpreter ends, aborts the process."""
    code = (
        "import os, pyarrow as pa\n"
        "from wheresight.runs.parquet_bytes import from_bytes, to_bytes\n"
        "data = to_bytes(pa.table({name: list(range(1000)) for name in 'abcdef'}))\n"
        f"before = len(os.listdir('{TASKS}'))\n"
        "from_bytes(data)\n"
        f"print(len(os.listdir('{TASKS}')) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]
