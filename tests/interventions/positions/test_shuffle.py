"""Shuffle: a permutation, fixed by seed, image number and size, the same in any batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.positions.shuffle import Shuffle
from wheresight.lvlm.layout import ImageTokens


def test_by_hand(prompts: Any) -> None:
    """Written down once: a stored record must mean the same for ever."""
    ids, layout = prompts.one(2, ImageTokens(2, 3), after=1)
    assert Shuffle(seed=0).positions(ids, layout, 0).tolist() == [[[0, 1, 7, 3, 6, 5, 2, 4, 8]]]
    assert Shuffle(seed=1).positions(ids, layout, 0).tolist() == [[[0, 1, 4, 6, 7, 5, 3, 2, 8]]]


def test_images_of_a_row_differ(prompts: Any) -> None:
    ids, layout = prompts.one(0, ImageTokens(6, 6), ImageTokens(6, 6), after=0)
    new = Shuffle().positions(ids, layout, 0)[0, 0]
    first, second = new[:36], new[36:] - 36
    assert not torch.equal(first, second)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(36))
    other = Shuffle(seed=1).positions(ids, layout, 0)[0, 0]
    assert not torch.equal(new, other)


def test_triples_stay_together(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(3, 4), m_rope=True)
    new = Shuffle().positions(ids, layout, 0)
    old = {tuple(token) for token in ids[:, 0, 1:13].T.tolist()}
    assert {tuple(token) for token in new[:, 0, 1:13].T.tolist()} == old
    assert not torch.equal(new, ids)


def test_hidden_tokens_keep_theirs(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(4, 4, hidden=5))
    new = Shuffle().positions(ids, layout, 0)
    assert torch.equal(new[..., 17:], ids[..., 17:])
    assert sorted(new[0, 0, 1:17].tolist()) == list(range(1, 17))
    assert not torch.equal(new, ids)


def test_an_image_that_is_hidden_whole(prompts: Any) -> None:
    ids, layout = prompts.one(1, ImageTokens(0, 0, hidden=3))
    assert torch.equal(Shuffle().positions(ids, layout, 0), ids)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**63 - 1))
def test_a_permutation_of_each_image(prompts: Any, data: st.DataObject, seed: int) -> None:
    """No grid needed; a row alone, or beside others, or in another layer, has the same."""
    m_rope = data.draw(st.booleans())
    rows = data.draw(prompts.rows(packed=not m_rope, grids=m_rope))
    ids, layout = prompts.written(rows, m_rope=m_rope)
    new = Shuffle(seed=seed).positions(ids, layout, 0)
    assert torch.equal(new, Shuffle(seed=seed).positions(ids, layout, 7))
    outside = layout.image < 0
    assert torch.equal(new[:, outside], ids[:, outside])
    for b, spans in enumerate(layout.images):
        for span in spans:
            was, now = (x[:, b, span.start : span.stop].T.tolist() for x in (ids, new))
            assert sorted(was) == sorted(now)
    twice = Shuffle(seed=seed).positions(ids.repeat(1, 2, 1), layout.take(_twice(len(rows))), 0)
    assert torch.equal(twice, new.repeat(1, 2, 1))


def _twice(rows: int) -> torch.Tensor:
    return torch.arange(rows).repeat(2)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises(SpecError, match="The parameter seed of 'shuffle' cannot be"):
        Shuffle(seed=seed)
