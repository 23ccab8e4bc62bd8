"""`wheresight diagnose`, `list diagnostics` and `report` on what it wrote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import warm_commands
from wheresight.probes.registry import known_diagnostics

wheresight = partial(warm_commands.wheresight, COLUMNS="120")


def test_a_run_and_its_page_again(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = wheresight(
        "diagnose", "--out", out, "--tool", "compression:items=2,sides=1", "--grid", "1x2",
        "--replicates", "100",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Compression (compression)" in done.stdout
    assert "Accuracy, fewer tokens" in done.stdout
    again = wheresight("report", out, "--replicates", "100")
    assert again.returncode == 0, again.stderr
    assert "Compression (compression)" in again.stdout
    assert "Loading" not in again.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tool", "erazure"), "Unknown diagnostic 'erazure'. Did you mean 'erasure'?"),
        (("--tool", "erasure:masks=1"), "expected a whole number from 2 to 128"),
        (("--tool", "psi", "-i", "bappa"), "Unknown intervention 'bappa'"),
        (("--tool", "psi", "-b", "3ds"), "Unknown benchmark '3ds'"),
        (("--tool", "norms", "-b", "2ds"), "no diagnostic that was asked for takes one"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = wheresight("diagnose", "--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_list() -> None:
    found = json.loads(wheresight("list", "diagnostics", "--json").stdout)
    assert [tool["name"] for tool in found] == list(known_diagnostics())
    assert all(tool["question"].endswith("?") for tool in found)
    spoken = wheresight("list", "diagnostics").stdout
    assert "masks=20" in spoken
    assert "Beyond Semantics" in spoken
