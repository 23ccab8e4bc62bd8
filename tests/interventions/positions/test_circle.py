"""Circle-RoPE by hand: angles, points, and equal distances to the text."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.positions.circle import CircleRoPE, angles
from wheresight.lvlm.layout import ImageTokens


def test_angles_by_hand() -> None:
    """2 x 2: directions -3/4, -1/4, 3/4, 1/4 pi, stretched to 0, 2/3, 2, 4/3 pi."""
    direction, raster = [0, 2 / 3, 2, 4 / 3], [0, 1 / 2, 1, 3 / 2]
    for alpha in (0, 0.5, 1):
        want = [alpha * d + (1 - alpha) * r for d, r in zip(direction, raster, strict=True)]
        assert (angles(2, 2, alpha) / math.pi).tolist() == pytest.approx(want)


def test_grids_without_a_plane() -> None:
    """One token, one row, one column: finite, and apart where the raster has a say."""
    assert angles(1, 1, 0.5).tolist() == [0]
    assert angles(1, 1, 1).tolist() == [0]
    # Left of the middle the direction is pi, right of it 0: stretched, 2 pi and 0.
    row = [2 * 0.5 + 0, 2 * 0.5 + 0.25, 0.5, 0.75]
    assert (angles(1, 4, 0.5) / math.pi).tolist() == pytest.approx(row)
    # Above the middle -pi / 2, in it 0, below it pi / 2: stretched, 0, pi and 2 pi.
    assert (angles(3, 1, 1) / math.pi).tolist() == pytest.approx([0, 1, 2])
    for height, width in [(1, 2), (2, 1), (1, 7), (7, 1)]:
        turn = angles(height, width, 0.5) % (2 * math.pi)
        assert len({round(a, 9) for a in turn.tolist()}) == height * width


def test_by_hand(prompts: Any) -> None:
    """1 x 4 by raster alone: angles 0, pi / 2, pi, 3 pi / 2 on a circle about (2, 2, 2)."""
    radius = math.sqrt(6)
    ids, layout = prompts.one(2, ImageTokens(1, 4), m_rope=True)
    new = CircleRoPE(radius=radius, alpha=0).positions(ids, layout, 0)[:, 0]
    a = math.sqrt(3)
    want = [
        [0, 1, 2, 4, 2, 0, 5, 6],
        [0, 1, 2 + a, 1, 2 - a, 3, 5, 6],
        [0, 1, 2 - a, 1, 2 + a, 3, 5, 6],
    ]
    torch.testing.assert_close(new, torch.tensor(want), rtol=0, atol=1e-5)


def test_text_goes_on_at_a_fraction(prompts: Any) -> None:
    """1 x 2: the largest id is i + R / sqrt(2)."""
    ids, layout = prompts.one(1, ImageTokens(1, 2), after=2, m_rope=True)
    new = CircleRoPE(radius=1, alpha=0).positions(ids, layout, 0)[:, 0]
    assert new[1, 1].item() == pytest.approx(1 + math.sqrt(0.5))
    assert new[:, -2].tolist() == pytest.approx([2 + math.sqrt(0.5)] * 3)


def test_a_class_token_stays_on_the_line(prompts: Any) -> None:
    from wheresight.lvlm.layout import ImageSpan, layout_of

    tokens = ImageTokens(1, 1, loose=1)
    layout = layout_of(((ImageSpan(1, 3, tokens),),), None, torch.zeros(1, 4))
    ids = torch.arange(4).expand(3, 1, 4)
    new = CircleRoPE(radius=math.sqrt(2), alpha=0.5).positions(ids, layout, 0)[:, 0]
    want = [[0, 1, 2, 4], [0, 1, 3, 4], [0, 1, 1, 4]]
    torch.testing.assert_close(new, torch.tensor(want).float(), rtol=0, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    front=st.integers(1, 5),
    radius=st.floats(0, 30),
    alpha=st.floats(0, 1),
)
def test_each_text_token_is_equally_far(
    prompts: Any, height: int, width: int, front: int, radius: float, alpha: float
) -> None:
    """Per-token distance is 0: the claim of the paper; and the circle is about (i, i, i)."""
    ids, layout = prompts.one(front, ImageTokens(height, width), m_rope=True)
    new = CircleRoPE(radius=radius, alpha=alpha).positions(ids, layout, 0)[:, 0].double()
    image = new[:, front:-2]
    away = (image - front).norm(dim=0)
    torch.testing.assert_close(away, torch.full_like(away, radius), rtol=0, atol=1e-4)
    assert (image.sum(0) - 3 * front).abs().amax() < 1e-4
    for text in (0, -2, -1):
        far = (image - new[:, text, None]).norm(dim=0)
        torch.testing.assert_close(far, far[:1].expand_as(far), rtol=0, atol=1e-4)
    assert new[0, -2].item() == pytest.approx(image.amax().item() + 1, abs=1e-4)


def test_every_other_layer() -> None:
    """AGE: the others keep the ids of M-RoPE."""
    from wheresight.interventions.spec import parse

    (circle,) = parse("circle:layers=even")
    assert [circle.layer_key(layer) for layer in range(4)] == [True, None, True, None]


@pytest.mark.parametrize(
    "bad",
    [
        {"radius": -1},
        {"radius": math.nan},
        {"radius": math.inf},
        {"radius": 1e6},
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"alpha": math.nan},
    ],
)
def test_bad_parameters(bad: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="of 'circle' cannot be"):
        CircleRoPE(**bad)
