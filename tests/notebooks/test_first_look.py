"""The notebook, run by a real kernel: it still shows what it was committed with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "first_look.ipynb"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def texts(cell: Any) -> str:
    """What a cell printed."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def pictures(cell: Any) -> int:
    """How many pictures a cell shows."""
    return sum("image/png" in o.get("data", {}) for o in cell.outputs)


def test_it_runs_and_shows_what_it_was_committed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    committed = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(committed)
    again = nbformat.read(NOTEBOOK, as_version=4)
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(
        again, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    code = [
        (a, b) for a, b in zip(committed.cells, again.cells, strict=True) if a.cell_type == "code"
    ]
    assert sum(pictures(cell) for cell, _ in code) == 4
    for before, after in code:
        assert pictures(before) == pictures(after)
        there, here = texts(before), texts(after)
        assert NUMBER.sub("", there) == NUMBER.sub("", here)
        # Another processor may round another way in the last place that is printed.
        expected = [float(number) for number in NUMBER.findall(there)]
        assert [float(n) for n in NUMBER.findall(here)] == pytest.approx(expected, abs=0.11)
    assert not list(tmp_path.glob("*.png"))


def test_it_is_small() -> None:
    assert NOTEBOOK.stat().st_size < 400_000
