"""AdaptVis: what is decided from first logits, and what then happens to each row."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions import canonical, parse, to_json
from wheresight.interventions.attention.adaptvis import AdaptVis
from wheresight.interventions.inputs import AttentionRows


def first(*probabilities: float) -> torch.Tensor:
    """Logits of these probabilities, raised by a constant that must not matter."""
    return torch.tensor(probabilities).log() + 50


def test_decided_by_hand() -> None:
    """The largest probability of each row against 0.4; raw logits near 50 do not count."""
    logits = torch.stack([first(0.3, 0.39, 0.31), first(0.1, 0.41, 0.49), first(0.2, 0.2, 0.6)])
    assert AdaptVis().decide(logits).tolist() == [0.5, 1.5, 1.5]
    assert AdaptVis(0.8, 1.2, 0.5).decide(logits).tolist() == pytest.approx([0.8, 0.8, 1.2])


def test_at_the_threshold_it_is_sure() -> None:
    even = torch.zeros(1, 4)
    assert AdaptVis(threshold=0.25).decide(even).tolist() == [1.5]
    assert AdaptVis(threshold=0.2501).decide(even).tolist() == [0.5]
    assert AdaptVis(threshold=0).decide(torch.zeros(1, 10**5)).tolist() == [1.5]
    assert AdaptVis(threshold=1).decide(first(0.9, 0.1)[None]).tolist() == [0.5]


def test_rounding() -> None:
    """0.396 is below 0.4; rounded to two decimals it is 0.4, and not below."""
    logits = first(0.396, 0.304, 0.3)[None]
    assert AdaptVis().decide(logits).tolist() == [0.5]
    assert AdaptVis(rounding=2).decide(logits).tolist() == [1.5]
    assert AdaptVis(rounding=0, threshold=1).decide(first(0.6, 0.4)[None]).tolist() == [1.5]


def test_half_precision_logits() -> None:
    """The softmax is float32: over 1000 tokens half precision would lose the sum."""
    logits = torch.zeros(1, 1000, dtype=torch.bfloat16)
    logits[0, 3] = 7
    confidence = float(logits.double().softmax(-1).max())
    assert AdaptVis(threshold=confidence + 1e-5).decide(logits).tolist() == [0.5]
    assert AdaptVis(threshold=confidence - 1e-5).decide(logits).tolist() == [1.5]


def test_each_row_has_its_factor(one_row: Callable) -> None:
    """Before anything is decided the model is as it is."""
    logits = torch.tensor([1.0, 2.0, -3.0]).expand(2, 1, 1, 3)
    seen = torch.ones(2, 1, 1, 3, dtype=torch.bool)
    image = torch.tensor([0, 1, 1]).bool().expand(2, 1, 1, 3)
    undecided = AttentionRows(0, seen, image)
    assert AdaptVis().logits(logits, undecided) is logits
    rows = AttentionRows(0, seen, image, decided=torch.tensor([0.5, 1.5]))
    new = AdaptVis().logits(logits, rows)
    assert new[:, 0, 0].tolist() == [[1, 1, -1.5], [1, 3, -4.5]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_against_a_reference(
    calls: st.SearchStrategy, only_image_keys: Callable, data: st.DataObject
) -> None:
    call = data.draw(calls)
    new = only_image_keys(AdaptVis(), call)
    for b, factor in enumerate(call.rows.decided.tolist()):
        seen = call.rows.image_seen[b].expand(new[b].shape)
        torch.testing.assert_close(new[b][seen], call.logits[b][seen] * factor)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 50), st.integers(0, 10**6), st.floats(0, 1))
def test_rows_decide_alone(batch: int, words: int, seed: int, threshold: float) -> None:
    logits = torch.randn(batch, words, generator=torch.Generator().manual_seed(seed)) * 4
    method = AdaptVis(threshold=threshold)
    decided = method.decide(logits)
    assert decided.shape == (batch,)
    for b in range(batch):
        assert torch.equal(method.decide(logits[b : b + 1]), decided[b : b + 1])
        # Adding a constant changes no probability.
        largest = float(logits[b].double().softmax(-1).max())
        if abs(largest - threshold) > 1e-4:
            assert method.decide(logits[b : b + 1] + 7)[0] == decided[b]
            assert decided[b] == (0.5 if largest < threshold else 1.5)


def test_written() -> None:
    assert AdaptVis() == AdaptVis(0.5, 1.5, 0.4)
    assert to_json("adaptvis")[0]["params"]["rounding"] == "none"
    for spec, text in (
        ("adaptvis:rounding=2", "adaptvis:rounding=2"),
        ("adaptvis:rounding=None", "adaptvis"),
        ("adaptvis:0.8,high=1.2", "adaptvis:low=0.8,high=1.2"),
    ):
        assert canonical(spec) == text
        assert parse(to_json(spec)) == parse(spec)
    assert AdaptVis.twice and not AdaptVis.decoding
    assert AdaptVis(1, 1).idle() and not AdaptVis(1, 1.5).idle()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("adaptvis:rows=text", "runs the last prompt row again and no other; rows=text was given"),
        ("adaptvis:rows=all", "rows of 'adaptvis' cannot be 'all'"),
        ("adaptvis:low=-1", "low of 'adaptvis' cannot be -1.0"),
        ("adaptvis:high=nan", "expected a finite number"),
        ("adaptvis:threshold=1.1", "threshold of 'adaptvis' cannot be 1.1: expected a finite"),
        ("adaptvis:rounding=7", "rounding of 'adaptvis' cannot be 7: expected a whole number"),
        ("adaptvis:rounding=2.5", "expected `none`, or a whole number of decimals"),
    ],
)
def test_bad_parameters(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(spec)


def test_bad_rounding_in_python() -> None:
    with pytest.raises(SpecError, match="rounding of 'adaptvis' cannot be 'two'"):
        AdaptVis(rounding="two")


def test_confidence_is_over_the_whole_vocabulary() -> None:
    """Two options of 0.35 each are not one half: the rest of the vocabulary counts."""
    logits = torch.tensor([[log(0.35), log(0.35), log(0.3)]])
    assert AdaptVis(threshold=0.4).decide(logits).tolist() == [0.5]
