"""ScalingVis, Temperature and Shift: by hand, and what each keeps."""

from __future__ import annotations

from collections.abc import Callable
from math import e, exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions import parse
from wheresight.interventions.attention.scalingvis import ScalingVis
from wheresight.interventions.attention.shift import Shift
from wheresight.interventions.attention.temperature import Temperature
from wheresight.interventions.base import Intervention

many = settings(max_examples=60, deadline=None)


def test_by_hand(one_row: Callable) -> None:
    """Keys: text, two of the image, an image key that is hidden, text."""
    call = one_row([1.0, -2.0, 4.0, 8.0, 3.0], [0, 1, 1, 1, 0], [1, 1, 1, 0, 1])

    def new(method: Intervention) -> list[float]:
        return method.logits(call.logits, call.rows)[0, 0, 0].tolist()

    assert new(ScalingVis(0.5)) == [1, -1, 2, 8, 3]
    assert new(ScalingVis(0)) == [1, 0, 0, 8, 3]
    assert new(Shift(0.5)) == [1, -1.5, 4.5, 8, 3]
    # The image keys hold log(exp(-2) + exp(4)); at alpha = 0 it is shared equally.
    half = log((exp(-2) + exp(4)) / 2)
    assert new(Temperature(0)) == pytest.approx([1, half, half, 8, 3], abs=1e-6)


def test_weights_by_hand(one_row: Callable) -> None:
    """Weights 1 : 1 : 3 of a text key and two image keys."""
    call = one_row([0.0, 0.0, log(3)], [0, 1, 1])

    def new(method: Intervention) -> list[float]:
        return call.shares(method.logits(call.logits, call.rows))[0, 0, 0].tolist()

    # Squared: 1 : 1 : 9. The image had four fifths, and has ten elevenths.
    assert new(ScalingVis(2)) == pytest.approx([1 / 11, 1 / 11, 9 / 11], abs=1e-6)
    # 1 : 9 inside the image, and still four fifths for it.
    assert new(Temperature(2)) == pytest.approx([0.2, 0.08, 0.72], abs=1e-6)
    # Twice the weight for the image: 1 : 2 : 6.
    assert new(Shift(log(2))) == pytest.approx([1 / 9, 2 / 9, 6 / 9], abs=1e-6)


@many
@given(st.data(), st.floats(0, 4))
def test_scaling_against_a_reference(
    calls: st.SearchStrategy, only_image_keys: Callable, data: st.DataObject, alpha: float
) -> None:
    call = data.draw(calls)
    new = only_image_keys(ScalingVis(alpha), call)
    seen = call.rows.image_seen.expand(new.shape)
    torch.testing.assert_close(new[seen], (call.logits.double()[seen] * alpha).float())
    _text_keeps_its_ratios(call, new)


@many
@given(st.data(), st.floats(0, 4))
def test_temperature_keeps_mass(
    calls: st.SearchStrategy, only_image_keys: Callable, data: st.DataObject, alpha: float
) -> None:
    """The image's share stays to 1e-6, and inside it weights are as a softmax of alpha s."""
    call = data.draw(calls)
    call.logits = call.logits.double()  # float32 logits of 100 have steps of 1e-5
    new = only_image_keys(Temperature(alpha), call)
    mass = call.mass(new)
    torch.testing.assert_close(mass, call.mass(call.logits), atol=1e-6, rtol=0)
    seen = call.rows.image_seen.expand(new.shape)
    some = seen.any(-1)
    inside = (call.logits * alpha).masked_fill(~seen, -1e30).softmax(-1)
    shape = new.masked_fill(~seen, -1e30).softmax(-1)
    torch.testing.assert_close(shape[some], inside[some])
    assert torch.equal(new[~some], call.logits[~some])


@many
@given(st.data(), st.floats(-9, 9))
def test_shift_moves_log_odds(
    calls: st.SearchStrategy, only_image_keys: Callable, data: st.DataObject, amount: float
) -> None:
    """By the amount wherever both image and text are seen; shapes inside both stay."""
    call = data.draw(calls)
    call.logits = (call.logits / 10).double()
    new = only_image_keys(Shift(amount), call)
    seen = call.rows.image_seen
    both = (seen.any(-1) & (call.rows.visible & ~seen).any(-1)).expand(new.shape[:-1])
    moved = call.mass(new).logit() - call.mass(call.logits).logit()
    torch.testing.assert_close(
        moved[both], torch.full_like(moved[both], amount), atol=1e-6, rtol=1e-6
    )
    _text_keeps_its_ratios(call, new)


def _text_keeps_its_ratios(call: object, new: torch.Tensor) -> None:
    """Weights of text keys relative to each other are those they were."""
    text = (call.rows.visible & ~call.rows.image).expand(new.shape)
    some = text.any(-1)

    def shape(logits: torch.Tensor) -> torch.Tensor:
        return logits.double().masked_fill(~text, -1e30).softmax(-1)[some]

    assert torch.equal(shape(new), shape(call.logits))


@pytest.mark.parametrize("method", [ScalingVis(0), Temperature(0), Shift(-5)])
def test_rows_that_see_no_image(method: Intervention, one_row: Callable) -> None:
    for image, visible in (([0, 0, 0], [1, 1, 1]), ([1, 1, 0], [0, 0, 1])):
        call = one_row([0.5, -1.0, 2.0], image, visible)
        assert torch.equal(method.logits(call.logits, call.rows), call.logits)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("method", [ScalingVis(3), Temperature(3), Temperature(0), Shift(-5)])
def test_gradients_are_finite(method: Intervention, one_row: Callable) -> None:
    """Also of rows without an image key, where a sum over nothing would be NaN."""
    for visible in ([1, 1, 1], [0, 0, 1]):
        call = one_row([0.5, -1.0, 2.0], [1, 1, 0], visible)
        logits = call.logits.requires_grad_()
        with torch.autograd.detect_anomaly():  # raises at any NaN on the way
            method.logits(logits, call.rows).square().sum().backward()
        assert logits.grad is not None and logits.grad.isfinite().all()


def test_a_large_temperature_picks_the_largest(one_row: Callable) -> None:
    call = one_row([40.0, 41.0, -30.0, 39.0], [1, 1, 1, 0])
    new = call.shares(Temperature(1000).logits(call.logits, call.rows))[0, 0, 0]
    image = (1 + e + exp(-70)) / (1 + e + exp(-70) + 1 / e)
    assert new.tolist() == pytest.approx([0, image, 0, 1 - image], abs=1e-6)


def test_idle() -> None:
    for alpha, idle in ((1, True), (1.0, True), (0.99, False), (0, False)):
        assert ScalingVis(alpha).idle() == Temperature(alpha).idle() == idle
    assert Shift(0).idle() and Shift(-0.0).idle() and not Shift(0.1).idle()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scalingvis", "needs alpha"),
        (
            "scalingvis:-0.1",
            "alpha of 'scalingvis' cannot be -0.1: expected a finite number from 0",
        ),
        ("scalingvis:alpha=nan", "expected a finite number"),
        ("scalingvis:alpha=1e9", "from 0 to 1000"),
        ("scalingvis:1,rows=first", "rows of 'scalingvis' cannot be 'first'"),
        ("temperature:inf", "expected a finite number"),
        ("temperature:-2", "alpha of 'temperature' cannot be -2.0"),
        ("shift:1001", "amount of 'shift' cannot be 1001.0: expected a finite number from -1000"),
        ("shift:nan", "expected a finite number"),
    ],
)
def test_bad_parameters(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(spec)


@pytest.mark.parametrize("method", [ScalingVis, Temperature, Shift])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1"])
def test_bad_values_in_python(method: type, value: object) -> None:
    with pytest.raises(SpecError, match="expected a finite number"):
        method(value)
