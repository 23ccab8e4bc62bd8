"""Erasure: every masked picture as if it were run alone, and what is read from the records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from wheresight.errors import SpecError
from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.prompts import chat_prompt
from wheresight.probes.bench import Bench
from wheresight.probes.diagnostic import Context
from wheresight.probes.erasure import (
    Erasure,
    erase,
    inside_sums,
    log_odds,
    mask_boxes,
    overlap,
    quantity,
)
from wheresight.probes.registry import diagnostic


def test_masks_cover_the_picture_once() -> None:
    seen = np.zeros((96, 100), dtype=int)
    for left, top, right, bottom in mask_boxes((100, 96), 20):
        assert right > left
        assert bottom > top
        seen[top:bottom, left:right] += 1
    assert (seen == 1).all()
    # The paper's: 840 pixels, masks of 42.
    assert mask_boxes((840, 840), 20)[21].tolist() == [42, 42, 84, 84]


def test_overlap_is_a_share_of_the_mask() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [8, 8, 10, 10]])
    assert overlap(boxes, (0, 0, 4, 4)).tolist() == [1.0, 0.5, 0.0]


def test_log_odds_by_hand() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    p = logits.double().softmax(-1)[:, 0]
    torch.testing.assert_close(log_odds(logits, 0), (p / (1 - p)).log())
    shifted = log_odds(logits + 7.0, 0)  # a constant on all logits changes nothing
    torch.testing.assert_close(shifted, log_odds(logits, 0))


@pytest.mark.parametrize("spec", ["none", "bapa+mask:bidirectional", "normalize", "adaptvis"])
def test_masks_are_what_drawn_pictures_are_one_at_a_time(
    make_bench: Callable[..., Bench], spec: str
) -> None:
    bench = make_bench(items=1, spec=spec)
    (composite, *_) = bench.composites(bench.items)
    model, processor = bench.lvlm.model, bench.lvlm.processor
    with torch.inference_mode(), intervene(bench.lvlm, spec) as active:
        found = erase(bench, active, composite, 3)
    picture = bench.picture(composite)
    text = chat_prompt(processor, bench.question(composite.asks[0].caption))
    logits, features, unchanged = [], [], 0
    for box in [None, *mask_boxes(picture.size, 3).tolist()]:
        shown = picture.copy()
        if box is not None:
            shown.paste((255, 255, 255), tuple(box))
            unchanged += shown.tobytes() == picture.tobytes()
        inputs = processor(text=[text], images=[[shown]], return_tensors="pt")
        with torch.inference_mode(), intervene(bench.lvlm, spec):
            logits.append(model(**inputs).logits[0, -1])
            features.append(model.get_image_features(inputs["pixel_values"]).pooler_output[0])
    rows, tower = torch.stack(logits), torch.stack(features).double()
    token = int(rows[0].argmax())
    assert found["answer"] == bench.score.tokenizer.decode([token])
    assert found["unchanged"] == unchanged
    np.testing.assert_allclose(found["logit"], rows[1:, token] - rows[0, token], atol=2e-5)
    odds = log_odds(rows, token)
    np.testing.assert_allclose(found["log_odds"], odds[1:] - odds[0], atol=3e-5)
    change = (tower[1:] - tower[0]).flatten(1).norm(dim=1) / tower[0].norm()
    np.testing.assert_allclose(found["features"], change, atol=1e-6)


def test_where_processing_resizes_pictures_are_drawn(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(items=1, canvas=150)
    (composite, *_) = bench.composites(bench.items)
    with torch.inference_mode(), intervene(bench.lvlm, "none") as active:
        found = erase(bench, active, composite, 2)
    picture = bench.picture(composite)
    assert picture.size == (150, 150)
    text = chat_prompt(bench.lvlm.processor, bench.question(composite.asks[0].caption))
    rows = []
    for box in [None, *mask_boxes(picture.size, 2).tolist()]:
        shown = picture.copy()
        if box is not None:
            shown.paste((255, 255, 255), tuple(box))
        inputs = bench.lvlm.processor(text=[text], images=[[shown]], return_tensors="pt")
        with torch.inference_mode():
            rows.append(bench.lvlm.model(**inputs).logits[0, -1])
    token = int(rows[0].argmax())
    expected = [float(row[token] - rows[0][token]) for row in rows[1:]]
    np.testing.assert_allclose(found["logit"], expected, atol=2e-5)


def test_findings_by_hand() -> None:
    tool = Erasure(masks=2, items=2)
    table = {
        "item": np.array(["a", "a", "b", "b"], dtype=object),
        "key": np.array(["a", "a", "b", "b"], dtype=object),
        "cell": np.array([0, 1, 0, 1]),
        "inside": np.array([[1, 0, 0.5, 0], [0, 1, 0, 0.5]] * 2),
        "log_odds": np.array([[4, 1, -2, 1], [1, -1, 1, 2], [2, 1, 2, 1], [1, 1, 1, 0]], float),
        "features": np.ones((4, 4)),
        "logit": np.array([[4, 1, -2, 1], [1, -1, 1, 2], [2, 1, 2, 1], [0, 0, 0, 0]], float),
    }
    assert quantity(table, "normalised_logit")[0].tolist() == [1, 0.25, 0.5, 0.25]
    assert quantity(table, "normalised_logit")[3].tolist() == [0, 0, 0, 0]
    sums = inside_sums(np.abs(table["log_odds"]), table["inside"], table["cell"])
    # Cell 0: (4 + 0.5 * 2) + (2 + 0.5 * 2) over 3; cell 1: (1 + 0.5 * 2) + (1 + 0) over 3.
    assert (sums[..., 0].sum(0) / sums[..., 1].sum(0)).tolist() == [8 / 3, 1.0]
    found = tool.findings({"none": table, "bapa": table}, Context(replicates=100))
    by = {(f.name, f.intervention, f.versus, f.where.get("cell")): f for f in found}
    assert by["log_odds.inside", "none", "", 0].value == pytest.approx(8 / 3)
    assert by["log_odds.inside", "none", "", None].value == pytest.approx((8 / 3 + 1) / 2)
    sd = abs(8 / 3 - 1) / np.sqrt(2)
    assert by["log_odds.spread", "none", "", None].value == pytest.approx(sd / ((8 / 3 + 1) / 2))
    assert by["log_odds.key_share", "none", "", None].value == pytest.approx(11 / 22)
    assert by["features.spread", "none", "", None].value == 0
    assert by["log_odds.inside", "bapa", "none", None].value == 0
    assert by["normalised_logit.inside", "none", "", None].definition == "paper"


@pytest.mark.parametrize("spec", ["erasure:masks=1", "erasure:items=0", "erasure:masks=x"])
def test_what_it_refuses(spec: str) -> None:
    with pytest.raises(SpecError, match="of 'erasure' cannot be"):
        diagnostic(spec)
