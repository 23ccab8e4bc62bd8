"""Readings while the scorer works, which runs a prompt in parts and shares them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wheresight
from wheresight.lvlm.encoding import Query
from wheresight.lvlm.option_scoring import OptionScorer
from wheresight.lvlm.scoring import Scorer

QUESTIONS = ("is a red apple", "is dog", "is a cat here too")
SPECS = (
    "none",
    "bapa",
    "scalingvis:alpha=2",
    "scalingvis:alpha=2,rows=text",
    "adaptvis:threshold=0.9,low=0.2,high=2",
    "uac",
    "pool:side=2",
)


@pytest.fixture(scope="module")
def lvlm() -> Any:
    return wheresight.load("pocket")


@pytest.fixture(scope="module")
def queries() -> list[Query]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 96, 96, 3), dtype=np.uint8)
    return [Query(Image.fromarray(one), QUESTIONS) for one in pixels]


@pytest.mark.parametrize("rows", ["last", "text", "all"])
@pytest.mark.parametrize("spec", SPECS)
def test_shared_parts_are_read_as_whole_prompts(
    lvlm: Any, queries: list[Query], spec: str, rows: str
) -> None:
    """In the order of the questions, and without a change of the answers."""
    found = []
    for share in (True, False):
        scorer = Scorer(lvlm, batch_size=4, share_prefix=share)
        encoded = scorer.encode(queries)
        plain = scorer.score(encoded, spec)
        with wheresight.read(lvlm, "attention", rows=rows, each=True) as reading:
            assert scorer.score(encoded, spec) == plain
        found.append(reading.prompts)
    assert len(found[0]) == len(found[1]) == len(queries) * len(QUESTIONS)
    lengths = [len(row.ids) for row in encoded.rows]
    for n, (shared, whole) in enumerate(zip(*found, strict=True)):
        columns = shared.columns.shape[-1]
        assert columns == lengths[n]
        assert shared.rows == whole.rows
        assert (shared.mass - whole.mass).abs().max() < 1e-5
        assert (shared.columns - whole.columns[..., -columns:]).abs().max() < 1e-5
        assert (shared.entropy - whole.entropy).abs().max() < 1e-4


def test_several_interventions_at_once_are_read_in_order(lvlm: Any, queries: list[Query]) -> None:
    """All questions under the first, then all under the second; each as if alone."""
    scorer = Scorer(lvlm, batch_size=4)
    encoded = scorer.encode(queries)
    specs = ("none", "scalingvis:alpha=2", "bapa")
    with wheresight.read(lvlm, "attention") as reading:
        together = scorer.score_all(encoded, specs)
    count = len(encoded.rows)
    assert reading.mass.shape[0] == count * len(specs)
    for n, spec in enumerate(specs):
        with wheresight.read(lvlm, "attention") as alone:
            assert scorer.score(encoded, spec) == together[n]
        assert (reading.mass[n * count : (n + 1) * count] - alone.mass).abs().max() < 1e-5


def test_norms_and_turns_are_read_in_parts(lvlm: Any, queries: list[Query]) -> None:
    for name in ("norms", "rotary"):
        found = []
        for share in (True, False):
            scorer = Scorer(lvlm, batch_size=4, share_prefix=share)
            with wheresight.read(lvlm, name) as reading:
                scorer.score(scorer.encode(queries), "bapa")
            found.append(reading)
        if name == "rotary":
            assert (found[0].alpha - found[1].alpha).abs().max() < 1e-5
            continue
        for shared, whole in zip(found[0].prompts, found[1].prompts, strict=True):
            columns = shared.norms.shape[-1]
            assert torch.allclose(shared.norms, whole.norms[:, -columns:], rtol=1e-4)


def test_generated_answers_are_read(lvlm: Any, queries: list[Query]) -> None:
    scorer = Scorer(lvlm, batch_size=64)
    encoded = scorer.encode(queries)
    plain = scorer.generate(encoded, "bapa", max_new_tokens=3)
    with wheresight.read(lvlm, "attention", rows="last+generated") as reading:
        assert scorer.generate(encoded, "bapa", max_new_tokens=3) == plain
    assert len(reading.prompts) == len(encoded.rows)
    assert all(len(step) == len(encoded.rows) for step in reading.steps)


def test_options_under_several_interventions_are_read_one_after_another(
    lvlm: Any, queries: list[Query]
) -> None:
    scorer = Scorer(lvlm, batch_size=4)
    encoded = scorer.encode(queries)
    asked, options = [("yes", "no")] * len(encoded.rows), OptionScorer(scorer)
    specs = ("none", "bapa")
    with wheresight.read(lvlm, "attention", rows="last", each=True) as reading:
        options.score_all(encoded, asked, specs)
    alone = []
    for spec in specs:
        with wheresight.read(lvlm, "attention", rows="last", each=True) as single:
            options.score_all(encoded, asked, [spec])
        alone += single.prompts
    assert len(reading.prompts) == len(alone) == 2 * len(encoded.rows)
    for together, apart in zip(reading.prompts, alone, strict=True):
        assert (together.mass - apart.mass).abs().max() < 1e-6
