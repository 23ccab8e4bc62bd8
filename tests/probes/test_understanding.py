"""Understanding: pooled cosines by hand, and what the tower says of the pocket model's keys."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from wheresight.probes.bench import Bench
from wheresight.probes.diagnostic import Context
from wheresight.probes.understanding import (
    Understanding,
    alone,
    compare,
    cosines,
    pooled,
    spread_out,
)


def test_pooling_and_cosines_by_hand() -> None:
    found = pooled([torch.tensor([[1.0, -2.0], [3.0, -4.0]])])
    assert found["max"].tolist() == [[3.0, -2.0]]
    assert found["mean"].tolist() == [[2.0, -3.0]]
    assert cosines(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0], [-3.0, -4.0]])) == pytest.approx(
        np.array([[24 / 25, -1.0]])
    )


def test_max_pooling_cannot_tell_order() -> None:
    """Why near-equal cells follow by construction."""
    tokens = torch.randn(9, 5)
    turned = tokens[torch.randperm(9)]
    for how in ("max", "mean"):
        np.testing.assert_allclose(pooled([tokens])[how], pooled([turned])[how], atol=1e-12)


def test_ranks_leave_out_captions_that_read_alike() -> None:
    found = np.array([[0.5, 0.2, 0.5, 0.9], [0.1, 0.3, 0.0, 0.3]])
    numbers = compare(found, np.array([0, 1]), ["Cat", "dog", "cat", "bird"])
    assert numbers["matched"].tolist() == [0.5, 0.3]
    # Row 0: dog and bird are others, one of them below. Row 1: all three, two below, one tied.
    assert numbers["mismatched"] == pytest.approx([(0.2 + 0.9) / 2, (0.1 + 0.0 + 0.3) / 3])
    assert numbers["rank"] == pytest.approx([1 / 2, 2.5 / 3])


def test_the_key_stands_alone_on_white(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=1)
    for composite in bench.composites(bench.items):
        pixels = np.asarray(alone(bench, composite))
        half = pixels.shape[1] // 2
        own, other = pixels[:, :half], pixels[:, half:]
        if composite.cell == 1:
            own, other = other, own
        assert (other == 255).all()
        whole = np.asarray(bench.picture(composite))
        same = whole[:, :half] if composite.cell == 0 else whole[:, half:]
        assert (own == same).all()


def test_end_to_end_against_the_model_by_hand(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=3)
    tool = Understanding(items=3)
    counted: list[int] = []
    found = tool.measure(bench, counted.append)
    assert sum(counted) == tool.steps(bench) == len(found["item"]) == 6
    model, tokenizer = bench.lvlm.model, bench.score.tokenizer
    composite = bench.composites(bench.items)[3]  # the second item, in the second cell
    row = list(zip(found["item"], found["cell"], strict=True)).index((composite.item, 1))
    pixels = bench.lvlm.processor.image_processor(alone(bench, composite), return_tensors="pt")
    with torch.inference_mode():
        features = model.get_image_features(pixels["pixel_values"]).pooler_output[0].double()
        words = [
            model.get_input_embeddings()(
                torch.tensor(tokenizer(item.caption, add_special_tokens=False)["input_ids"])
            ).double()
            for item in bench.items
        ]
    similar = [torch.cosine_similarity(features.amax(0), w.amax(0), dim=0).item() for w in words]
    assert found["max_matched"][row] == pytest.approx(similar[1], abs=1e-6)
    assert found["max_mismatched"][row] == pytest.approx((similar[0] + similar[2]) / 2, abs=1e-6)
    assert found["max_rank"][row] == np.mean([similar[1] > similar[0], similar[1] > similar[2]])


def test_findings_by_hand() -> None:
    rows = {
        "key": ["a", "a", "b", "b"],
        "cell": [0, 1, 0, 1],
        "max_matched": [0.6, 0.8, 0.4, 0.6],
        "max_mismatched": [0.5, 0.5, 0.3, 0.3],
        "max_rank": [1.0, 1.0, 0.0, 1.0],
    }
    table = {name: np.array(values) for name, values in rows.items()}
    table |= {f"mean_{n}": table[f"max_{n}"] for n in ("matched", "mismatched", "rank")}
    assert np.isnan(spread_out(table["max_rank"], table["cell"])[0, 1])
    found = Understanding().findings({"none": table}, Context(replicates=100))
    by = {f.name: f for f in found if not f.where}
    assert by["max.matched"].value == pytest.approx(0.6)
    assert by["max.matched"].definition == "paper"
    assert by["max.spread"].value == pytest.approx(0.2 / np.sqrt(2))
    assert by["max.excess"].value == pytest.approx(0.2)
    assert by["mean.rank"].value == pytest.approx(0.75)
