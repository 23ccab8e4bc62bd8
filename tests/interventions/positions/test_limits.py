"""Where one method becomes another: the limits that the papers and our notes claim."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.bapa import BaPA
from wheresight.interventions.positions.bapa_far import BaPAFar
from wheresight.interventions.positions.cca import CCA
from wheresight.interventions.positions.circle import CircleRoPE
from wheresight.interventions.positions.pype import PyPE
from wheresight.interventions.positions.reverse import Reverse
from wheresight.interventions.positions.shuffle import Shuffle
from wheresight.interventions.positions.v2pe import V2PE
from wheresight.interventions.positions.videorope import VideoRoPE

limit = settings(max_examples=30, deadline=None)


@limit
@given(data=st.data(), alpha=st.floats(0, 1))
def test_a_circle_without_radius_is_bapa(prompts: Any, data: st.DataObject, alpha: float) -> None:
    ids, layout = prompts.written(data.draw(prompts.rows(packed=False)), m_rope=True)
    circle = CircleRoPE(radius=0, alpha=alpha).positions(ids, layout, 0)
    assert torch.equal(circle, BaPA().positions(ids, layout, 0).float())


@limit
@given(data=st.data(), m_rope=st.booleans(), jump=st.integers(1, 3))
def test_the_last_layers_of_pype_are_bapa(
    prompts: Any, data: st.DataObject, m_rope: bool, jump: int
) -> None:
    """Cap 0: one id an image, and within an image every token sees every other."""
    ids, layout = prompts.written(data.draw(prompts.rows(packed=False)), m_rope=m_rope)
    pype = PyPE(jump=jump)
    assert torch.equal(pype.positions(ids, layout, 5 * jump), BaPA().positions(ids, layout, 0))
    new = pype.mask(prompts.causal(layout), layout, ids, 5 * jump)
    same = layout.image[:, :, None] == layout.image[:, None, :]
    assert new[same & (layout.image >= 0)[:, None]].all()


@limit
@given(data=st.data(), m_rope=st.booleans())
def test_the_first_layers_of_pype_are_cca(prompts: Any, data: st.DataObject, m_rope: bool) -> None:
    ids, layout = prompts.written(data.draw(prompts.rows(packed=not m_rope)), m_rope=m_rope)
    allowed = prompts.causal(layout)
    pype, cca = PyPE(jump=3), CCA()
    assert torch.equal(pype.positions(ids, layout, 2), cca.positions(ids, layout, 2))
    assert torch.equal(pype.mask(allowed, layout, ids, 2), cca.mask(allowed, layout, ids, 2))


@limit
@given(data=st.data(), m_rope=st.booleans())
def test_v2pe_nears_bapa(prompts: Any, data: st.DataObject, m_rope: bool) -> None:
    """Up to one id: with a small span the image is on the text token before it, not behind it."""
    rows = data.draw(prompts.rows(packed=not m_rope))
    ids, layout = prompts.written(rows, m_rope=m_rope)
    small = V2PE(span=1e-4).positions(ids, layout, 0)
    bapa = BaPA().positions(ids, layout, 0)
    image = (layout.image >= 0).expand_as(bapa)
    assert torch.equal(small[~image], bapa[~image].float())
    torch.testing.assert_close(small[image], bapa[image].float() - 1, rtol=0, atol=1e-3)
    # And with a span of one its text is BaPA's, its order the model's.
    one = V2PE().positions(ids, layout, 0)
    assert torch.equal(one[~image], bapa[~image].float())


@limit
@given(data=st.data(), m_rope=st.booleans())
def test_bapa_far_is_bapa_from_afar(prompts: Any, data: st.DataObject, m_rope: bool) -> None:
    """Drawn together once, there is nothing left to draw: BaPA of it is BaPA."""
    ids, layout = prompts.written(data.draw(prompts.rows(packed=not m_rope)), m_rope=m_rope)
    far, bapa = BaPAFar().positions(ids, layout, 0), BaPA().positions(ids, layout, 0)
    image = (layout.image >= 0).expand_as(ids)
    assert (far >= bapa).all()
    assert torch.equal(far[~image], ids[~image])
    assert torch.equal(BaPAFar().positions(bapa, layout, 0), bapa)


@limit
@given(data=st.data(), m_rope=st.booleans(), seed=st.integers(0, 99))
def test_controls_rearrange_whatever_ids_there_are(
    prompts: Any, data: st.DataObject, m_rope: bool, seed: int
) -> None:
    """Of equal ids there is but one order; reversing is its own inverse on any ids."""
    ids, layout = prompts.written(data.draw(prompts.rows(packed=not m_rope)), m_rope=m_rope)
    shuffle, reverse = Shuffle(seed=seed).positions, Reverse().positions
    bapa = BaPA().positions(ids, layout, 0)
    assert torch.equal(shuffle(bapa, layout, 0), bapa)
    assert torch.equal(reverse(bapa, layout, 0), bapa)
    cca = CCA().positions(ids, layout, 0)
    mixed = shuffle(cca, layout, 0)
    assert torch.equal(mixed.sort(-1).values, cca.sort(-1).values)
    assert torch.equal(reverse(reverse(mixed, layout, 0), layout, 0), mixed)


@limit
@given(data=st.data())
def test_videorope_keeps_the_time_of_bapa(prompts: Any, data: st.DataObject) -> None:
    ids, layout = prompts.written(data.draw(prompts.rows(packed=False)), m_rope=True)
    new = VideoRoPE().positions(ids, layout, 0)
    bapa = BaPA().positions(ids, layout, 0)
    assert torch.equal(new[0], bapa[0])
    assert torch.equal(new[:, layout.image < 0], bapa[:, layout.image < 0])
