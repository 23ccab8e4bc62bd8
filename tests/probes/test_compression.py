"""Compression: which sides, how many tokens, and accuracies by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wheresight.errors import SpecError
from wheresight.probes.bench import Bench
from wheresight.probes.compression import Compression
from wheresight.probes.diagnostic import Context
from wheresight.probes.registry import diagnostic


def test_sides_fit_the_grid() -> None:
    tool = Compression()
    assert tool.chosen(24, 24) == [16, 8, 4, 1]
    assert tool.chosen(30, 17) == [16, 8, 4, 1]
    assert tool.chosen(9, 16) == [8, 4, 1]
    assert tool.chosen(6, 6) == [3, 2, 1]
    assert tool.chosen(4, 4) == [2, 1]
    assert Compression(sides="2/5").chosen(24, 24) == [5, 2]


def test_end_to_end(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=2)
    tool = Compression(items=2, sides="6/2/1")
    counted: list[int] = []
    found = tool.measure(bench, counted.append)
    assert sum(counted) == tool.steps(bench) == len(found["item"])
    table = {name: np.array(values) for name, values in found.items()}
    full = table["way"] == "full"
    assert set(table["tokens"][full]) == {36}
    for side, tokens in ((6, 36), (2, 4), (1, 1)):
        for way in ("pool", "broadcast"):
            own = (table["way"] == way) & (table["side"] == side)
            assert set(table["tokens"][own]) == {tokens}
            if side == 6:  # nothing is pooled
                np.testing.assert_allclose(table["logp"][own], table["logp"][full], atol=1e-5)
    one = (table["side"] == 1) & (table["way"] == "broadcast")
    assert np.abs(table["logp"][one] - table["logp"][full]).max() > 0.1
    findings = tool.findings({"none": table, "bapa": table}, Context(replicates=100))
    assert {f.where["tokens"] for f in findings} == {36, 4, 1}
    assert all(f.value == 0 for f in findings if f.versus)


def test_findings_by_hand() -> None:
    rows = [
        # key, expected, way, side, tokens, right
        *[("a", "yes", "full", 0, 9, True), ("b", "no", "full", 0, 9, True)],
        *[("a", "no", "full", 0, 9, True), ("b", "no", "full", 0, 9, False)],
        *[("a", "yes", "pool", 1, 1, False), ("b", "no", "pool", 1, 1, True)],
        *[("a", "no", "pool", 1, 1, True), ("b", "no", "pool", 1, 1, True)],
        *[("a", "yes", "broadcast", 1, 1, True), ("b", "no", "broadcast", 1, 1, False)],
        *[("a", "no", "broadcast", 1, 1, False), ("b", "no", "broadcast", 1, 1, False)],
    ]
    names = ("key", "expected", "way", "side", "tokens", "right")
    table = {
        name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    table["chance"] = np.full(len(rows), 1 / 2)
    found = Compression().findings({"none": table}, Context(replicates=100))
    by = {f.name: f for f in found}
    assert by["accuracy.full"].value == pytest.approx((1 + 2 / 3) / 2)
    assert by["accuracy.pool"].value == pytest.approx((0 + 1) / 2)
    assert by["accuracy.broadcast"].value == pytest.approx((1 + 0) / 2)
    assert by["pool_minus_broadcast"].value == 0
    assert by["loss"].value == pytest.approx((3 - 3) / 3)
    assert by["loss"].definition == "paper"


@pytest.mark.parametrize("sides", ["2/2", "0", "a", "4,2"])
def test_what_it_refuses(sides: str) -> None:
    with pytest.raises(SpecError):
        diagnostic(f"compression:sides={sides}")
