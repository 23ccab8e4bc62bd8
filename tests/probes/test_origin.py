"""Origin: the decomposition is exact, noise is taken out, and each part is what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from wheresight.lvlm.layout import ImageTokens
from wheresight.probes.bench import Bench
from wheresight.probes.diagnostic import Context
from wheresight.probes.key_features import box_weights, distances
from wheresight.probes.origin import (
    CONDITIONS,
    CROSSED,
    EQUAL_BOTH,
    PARTS,
    RASTER_CAUSAL,
    Origin,
    combined,
    grid_of,
    share,
    spread,
)
from wheresight.statistics.clustered import Clusters, Drawn
from wheresight.statistics.dispersion import delta, noise_floor


def test_parts_add_up_whatever_the_spreads() -> None:
    draws = np.random.default_rng(0)
    spreads = {c: Drawn(np.array(draws.normal()), draws.normal(size=5)) for c in CROSSED}
    parts = [combined(spreads, terms) for _, terms in PARTS.values()]
    whole = spreads[RASTER_CAUSAL]
    assert sum(p.value for p in parts) == pytest.approx(whole.value)
    np.testing.assert_allclose(sum(p.replicates for p in parts), whole.replicates)


def test_spread_is_delta_less_the_noise_of_items() -> None:
    values = 100.0 * np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]])
    clusters = Clusters(list("abca"), replicates=50)
    found = spread(clusters, values)
    numbers = np.array([0, 1, 2, 0])
    expected = delta(values.mean(axis=0)) - noise_floor(values, numbers)[0]
    assert found.value == pytest.approx(expected)
    assert np.isfinite(found.replicates).mean() > 0.8  # not where one cluster is all that is drawn
    # The same in all cells: no spread, and no noise in it.
    flat = spread(clusters, np.repeat(values[:, :1], 3, axis=1))
    assert flat.value == 0


def test_a_share_of_nothing_is_undefined() -> None:
    whole = Drawn(np.array(1.0), np.array([-1.0, 0.5, 2.0, 3.0]))
    part = Drawn(np.array(0.5), np.full(4, 0.5))
    assert np.isnan(share(part, whole).value)
    sure = Drawn(np.array(2.0), np.array([1.9, 2.0, 2.1]))
    assert share(Drawn(np.array(0.5), np.full(3, 0.5)), sure).value == 0.25


def test_weights_of_tokens_in_a_box_by_hand() -> None:
    # 4 x 4 tokens on 8 pixels, the box 2..5 by 0..4: columns 1 and half of 2; rows 0 and 1.
    found = box_weights(ImageTokens(4, 4), (8, 8), (2, 0, 5, 4)).view(4, 4)
    row = [0.0, 1.0, 0.5, 0.0]
    assert found.tolist() == [row, row, [0.0] * 4, [0.0] * 4]
    packed = box_weights(ImageTokens(2, 2, (1, 2), True, 1), (8, 8), (0, 0, 4, 8))
    # One loose token, two of the thumbnail, rows of two with a newline each.
    assert packed.tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0]


def test_distances_by_hand() -> None:
    features = {
        ("a", 0): np.array([0.0, 0.0]),
        ("a", 1): np.array([2.0, 0.0]),
        ("b", 0): np.array([5.0, 4.0]),
        ("b", 1): np.array([5.0, 0.0]),
    }
    cells, items = distances(features)  # means (1, 0) and (5, 2), centre (3, 1)
    assert cells == {("a", 0): 1, ("a", 1): 1, ("b", 0): 4, ("b", 1): 4}
    assert items == {"a": 5, "b": 5}


def test_end_to_end(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=3, grid="2x2")
    tool = Origin(items=3)
    counted: list[int] = []
    found = tool.measure(bench, counted.append)
    assert sum(counted) == tool.steps(bench) == len(found["item"])
    table = {name: np.array(values) for name, values in found.items()}
    assert set(table["condition"]) == set(CONDITIONS)
    # This model is causal, so both ways of writing it are one.
    for a, b in (("none", RASTER_CAUSAL), ("bapa", "bapa+mask:causal")):
        np.testing.assert_allclose(
            grid_of(table, a)["margin"], grid_of(table, b)["margin"], atol=1e-4
        )
    own = np.isfinite(table["over_cells"])
    assert own.sum() == 3 * 4
    assert set(table["question"][own]) == {"positive"}
    findings = tool.findings({"none": table}, Context(replicates=100))
    by = {f.name: f.value for f in findings if not f.where}
    whole = next(
        f.value
        for f in findings
        if f.name == "margin.spread" and f.where["condition"] == RASTER_CAUSAL
    )
    parts = sum(by[f"margin.part.{name}"] for name in PARTS)
    assert parts == pytest.approx(whole, abs=1e-9)
    assert 0 < by["encoder.cell_share"] < 1
    hits = grid_of(table, "bapa")["hits"]
    assert by["criterion.after"] == pytest.approx(float(delta(hits.mean(axis=0))))


def test_under_equal_ids_and_no_causal_rank_order_says_nothing(
    make_bench: Callable[..., Bench],
) -> None:
    """Why what is left there comes from before the language model."""
    bench = make_bench(items=1)
    encoded = bench.encode(bench.composites(bench.items))
    with torch.inference_mode():
        specs = [EQUAL_BOTH, f"{EQUAL_BOTH}+permute", "permute"]
        stays, moved, causal = bench.score.score_all(encoded, specs)
    for a, b in zip(stays, moved, strict=True):
        assert a.margin == pytest.approx(b.margin, abs=1e-4)
    plain = bench.score.score(encoded)
    assert max(abs(a.margin - b.margin) for a, b in zip(plain, causal, strict=True)) > 1e-3
