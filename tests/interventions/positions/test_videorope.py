"""VideoRoPE by hand: the grid about the text's line, and which pairs turn by what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.interventions.positions.videorope import VideoRoPE
from wheresight.lvlm.layout import ImageTokens

video = VideoRoPE().positions


def test_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(2, ImageTokens(2, 3), after=2, m_rope=True)
    assert video(ids, layout, 0)[:, 0].tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 3, 4],
        [0, 1, 2, 2, 2, 3, 3, 3, 3, 4],
        [0, 1, 1, 2, 3, 1, 2, 3, 3, 4],
    ]


def test_two_images_by_hand(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(3, 1), ImageTokens(1, 4), after=1, m_rope=True)
    assert video(ids, layout, 0)[:, 0].tolist() == [
        [0, 1, 1, 1, 2, 3, 3, 3, 3, 4],
        [0, 0, 1, 2, 2, 3, 3, 3, 3, 4],
        [0, 1, 1, 1, 2, 2, 3, 4, 5, 4],
    ]


def test_axes_by_hand() -> None:
    """64 pairs: 24 for h, 24 for w, in turn; the 16 slowest for t."""
    assert VideoRoPE().axes(8).tolist() == [1, 2, 1, 2, 1, 2, 0, 0]
    axes = VideoRoPE().axes(64)
    assert axes.bincount().tolist() == [16, 24, 24]
    assert axes[:48].tolist() == [1, 2] * 24
    assert axes.dtype == torch.int64


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5, 20, 32, 40, 64])
def test_axes_of_any_head(pairs: int) -> None:
    axes = VideoRoPE().axes(pairs)
    assert axes.shape == (pairs,)
    assert int((axes == 0).sum()) == pairs // 4
    assert (axes[: pairs - pairs // 4] > 0).all()


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), front=st.integers(0, 5))
def test_the_middle_is_on_the_line(prompts: Any, height: int, width: int, front: int) -> None:
    """The t row is BaPA's; the cell at the floor of the middle has three equal ids."""
    ids, layout = prompts.one(front, ImageTokens(height, width), m_rope=True)
    new = video(ids, layout, 0)[:, 0]
    image = new[:, front:-2].reshape(3, height, width)
    assert (image[0] == front).all()
    assert image[:, (height - 1) // 2, (width - 1) // 2].tolist() == [front] * 3
    assert (image[1].diff(dim=0) == 1).all() and (image[1].diff(dim=1) == 0).all()
    assert (image[2].diff(dim=1) == 1).all() and (image[2].diff(dim=0) == 0).all()
    assert new[:, -2].tolist() == [front + 1] * 3
