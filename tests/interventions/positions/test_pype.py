"""PyPE by hand: the cap that falls with the layers, the ids and the mask under it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.layers import Some
from wheresight.interventions.positions.pype import PyPE
from wheresight.interventions.spec import parse
from wheresight.lvlm.layout import ImageTokens


def test_by_hand(prompts: Any) -> None:
    """5 x 5 has three rings: cap 2 in layers 0 and 1, cap 1 in 2 and 3, cap 0 from 4 on."""
    ids, layout = prompts.one(1, ImageTokens(5, 5), after=2)
    pype = PyPE(jump=2)
    inner = [0] * 5 + [0, 1, 1, 1, 0]
    want = {
        0: ([*inner, 0, 1, 2, 1, 0, *inner[::-1]], 3),
        2: ([*inner, 0, 1, 1, 1, 0, *inner[::-1]], 2),
        4: ([0] * 25, 1),
        31: ([0] * 25, 1),
    }
    for layer, (image, takes) in want.items():
        for same in (layer, layer + layer % 2 ^ 1):
            new = pype.positions(ids, layout, same)
            assert new.tolist() == [[[0, *(1 + x for x in image), 1 + takes, 2 + takes]]]


def test_blocks_have_caps_of_their_own(prompts: Any) -> None:
    """A thumbnail of one ring, a grid of two: in layer 0 caps 0 and 1."""
    tokens = ImageTokens(3, 3, thumbnail=(2, 2), newlines=True)
    ids, layout = prompts.one(0, tokens, after=1)
    grid = [1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
    assert PyPE(jump=1).positions(ids, layout, 0).tolist() == [[[0, 0, 0, 0, *grid, 3]]]
    flat = [1] * 12
    assert PyPE(jump=1).positions(ids, layout, 1).tolist() == [[[0, 0, 0, 0, *flat, 2]]]


def test_layers_of_one_step_are_alike() -> None:
    pype = PyPE(jump=3)
    assert [pype.layer_key(layer) for layer in range(8)] == [0, 0, 0, 1, 1, 1, 2, 2]
    some = PyPE(jump=3, layers=Some.parse("2-4"))
    assert [some.layer_key(layer) for layer in range(6)] == [None, None, 0, 1, 1, None]


def test_mask_by_hand(prompts: Any) -> None:
    """3 x 3: by rings in layer 0, all of the image in layer 1, where the cap is 0."""
    ids, layout = prompts.one(1, ImageTokens(3, 3), after=1)
    allowed = prompts.causal(layout)
    rim, all_ = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0], [1] * 10 + [0]
    first = PyPE(jump=1).mask(allowed, layout, ids, 0)
    assert first[0, 1:-1].int().tolist() == [rim] * 4 + [all_] + [rim] * 4
    second = PyPE(jump=1).mask(allowed, layout, ids, 1)
    assert second[0, 1:-1].int().tolist() == [all_] * 9
    assert torch.equal(second[0, [0, -1]], allowed[0, [0, -1]])
    assert torch.equal(PyPE(jump=1, mask_=False).mask(allowed, layout, ids, 1), allowed)


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    jump=st.integers(1, 5),
    layer=st.integers(0, 40),
)
def test_formula(prompts: Any, height: int, width: int, jump: int, layer: int) -> None:
    ids, layout = prompts.one(3, ImageTokens(height, width), after=1)
    new = PyPE(jump=jump).positions(ids, layout, layer)[0, 0]
    most = (min(height, width) + 1) // 2
    cap = most - min(most, layer // jump + 1)
    ring = [min(r, c, height - 1 - r, width - 1 - c) for r in range(height) for c in range(width)]
    assert new[3:-1].tolist() == [3 + min(x, cap) for x in ring]
    assert new[-1] == 3 + cap + 1
    assert PyPE(jump=jump).layer_key(layer) == layer // jump


@settings(max_examples=20, deadline=None)
@given(data=st.data(), layer=st.integers(0, 8))
def test_mask_goes_by_the_ids(prompts: Any, data: st.DataObject, layer: int) -> None:
    ids, layout = prompts.written(data.draw(prompts.rows(2)))
    allowed = prompts.causal(layout)
    pype = PyPE(jump=2)
    new = pype.mask(allowed, layout, ids, layer)
    order = pype.positions(ids, layout, layer)[0]
    same = (layout.image[:, :, None] == layout.image[:, None, :]) & (layout.image >= 0)[:, None]
    within = same & (layout.kind[:, :, None] == layout.kind[:, None, :])
    assert torch.equal(new[~same], allowed[~same])
    assert torch.equal(new[within], (order[:, None, :] <= order[:, :, None])[within])


@pytest.mark.parametrize("jump", [0, -1, 1001, 1.5, True])
def test_bad_jumps(jump: Any) -> None:
    with pytest.raises(SpecError, match="expected a whole number from 1 to 1000"):
        PyPE(jump=jump)


def test_jump_has_no_default() -> None:
    with pytest.raises(SpecError, match="write pype:jump="):
        parse("pype")
    assert str(parse("pype:2")[0]) == "pype:jump=2"
