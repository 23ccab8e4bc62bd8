"""UAC by hand, against a reference, and where a blank image says nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import ModelError, SpecError
from wheresight.interventions import parse
from wheresight.interventions.attention.uac import UAC
from wheresight.interventions.inputs import AttentionRows


def calibrated(blank: list[float], image: list[int], visible: list[int] | None = None):
    """One query, one head: what is known of its keys."""
    rows = [torch.tensor(x)[None, None, None] for x in (visible or [1] * len(image), image, blank)]
    return AttentionRows(0, rows[0].bool(), rows[1].bool(), calibration=rows[2])


def weighed(method: UAC, weights: list[float], rows: AttentionRows) -> list[float]:
    return method.weights(torch.tensor(weights)[None, None, None], rows)[0, 0, 0].tolist()


def test_by_hand() -> None:
    """A blank image gets 0.1 and 0.3, mean 0.2: weights times 2 and times 2/3."""
    rows = calibrated([0, 0.1, 0.3], [0, 1, 1])
    old = [0.5, 0.2, 0.3]
    assert weighed(UAC(1, False), old, rows) == pytest.approx([0.5, 0.4, 0.2])
    assert weighed(UAC(), old, rows) == pytest.approx([0.5 / 1.1, 0.4 / 1.1, 0.2 / 1.1])
    # Half way: times 1.5 and times 5/6.
    assert weighed(UAC(0.5, False), old, rows) == pytest.approx([0.5, 0.3, 0.25])


def test_a_row_keeps_its_sum() -> None:
    """A row that sums to 0.9, as in half precision or beside a sink, still does."""
    rows = calibrated([0, 0.1, 0.3], [0, 1, 1])
    assert sum(weighed(UAC(), [0.4, 0.2, 0.3], rows)) == pytest.approx(0.9)


def test_a_blank_image_becomes_uniform() -> None:
    """What was measured, calibrated with itself, is its own mean."""
    blank = [0.0, 0.05, 0.2, 0.35]
    rows = calibrated(blank, [0, 1, 1, 1])
    new = weighed(UAC(1, False), [0.4, *blank[1:]], rows)
    assert new == pytest.approx([0.4, 0.2, 0.2, 0.2])


def test_keys_that_a_query_does_not_see_do_not_count() -> None:
    """The hidden image key has a measure, but the mean is that of the two others."""
    rows = calibrated([0, 0.1, 0.3, 0.8], [0, 1, 1, 1], [1, 1, 1, 0])
    assert weighed(UAC(1, False), [0.5, 0.2, 0.3, 0], rows) == pytest.approx([0.5, 0.4, 0.2, 0])


def test_keys_without_a_measure_keep_their_weight() -> None:
    """Zero, and a number whose inverse overflows; both count in the mean, 0.15."""
    for nothing in (0.0, 1e-42):
        rows = calibrated([nothing, 0.3, 0.0], [1, 1, 0])
        assert weighed(UAC(1, False), [0.5, 0.4, 0.1], rows) == pytest.approx([0.5, 0.2, 0.1])


def test_the_smallest_measure_does_not_overflow() -> None:
    rows = calibrated([1.2e-38, 1.0, 1.0], [1, 1, 1])
    new = weighed(UAC(), [0.9, 0.05, 0.05], rows)
    assert new == pytest.approx([1, 0, 0])


def test_rows_that_see_no_image() -> None:
    rows = calibrated([0.1, 0.3, 0], [1, 1, 0], [0, 0, 1])
    assert weighed(UAC(), [0.0, 0.0, 1.0], rows) == [0, 0, 1]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0, 1), st.booleans())
def test_against_a_reference(
    calls: st.SearchStrategy, data: st.DataObject, strength: float, renormalize: bool
) -> None:
    call = data.draw(calls)
    call.logits = call.logits.clamp(-5, 5)
    old = call.shares(call.logits).float()
    method = UAC(strength, renormalize)
    new = method.weights(old, call.rows)
    assert new.dtype == old.dtype and new.shape == old.shape
    assert new.isfinite().all() and (new >= 0).all()
    seen = call.rows.image_seen.expand(old.shape)
    blank = call.rows.calibration.expand(old.shape).double()
    want = old.double().clone()
    for index in seen.any(-1).nonzero().tolist():
        b, a, q = index
        of = seen[b, a, q]
        mean = blank[b, a, q][of].mean()
        of = of & (blank[b, a, q] > 0)
        ratio = ((1 - strength) * blank[b, a, q] + strength * mean) / blank[b, a, q]
        want[b, a, q] = torch.where(of, old[b, a, q] * ratio, old[b, a, q])
    if renormalize:
        want = want / want.sum(-1, keepdim=True)
        torch.testing.assert_close(new.sum(-1), torch.ones_like(new[..., 0]))
    torch.testing.assert_close(new.double(), want, atol=1e-5, rtol=1e-4)
    # Text keys keep their ratios; as printed, their weights too.
    if not renormalize:
        assert torch.equal(new[~seen], old[~seen])
    for b in range(old.shape[0]):
        alone = call.alone(b)
        one = method.weights(old[b : b + 1], alone.rows)
        torch.testing.assert_close(one[0], new[b])


def test_half_precision_weights() -> None:
    rows = calibrated([0, 0.1, 0.3], [0, 1, 1])
    new = UAC().weights(torch.tensor([[[[0.5, 0.2, 0.3]]]], dtype=torch.bfloat16), rows)
    assert new.dtype == torch.bfloat16
    assert new.float().sum().item() == pytest.approx(1, abs=0.01)


def test_without_calibration(one_row: Callable) -> None:
    call = one_row([0.5, 0.5], [1, 0])
    with pytest.raises(ModelError, match="'uac' was not calibrated"):
        UAC().weights(call.logits, call.rows)


def test_parameters() -> None:
    assert UAC().rows == "text"
    assert str(UAC(rows="last")) == "uac:rows=last"
    assert parse("uac:0.5,renormalize=false") == (UAC(0.5, False),)
    assert UAC.needs_blank and UAC.decoding
    assert UAC(0).idle() and not UAC().idle()
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(SpecError, match="strength of 'uac' cannot be"):
            UAC(strength)
    with pytest.raises(SpecError, match="rows of 'uac' cannot be 'some'"):
        UAC(rows="some")
