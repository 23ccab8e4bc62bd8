"""A cache layer with room: what it holds is what a dynamic layer would hold, branch by branch."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from wheresight.lvlm.history import branch
from wheresight.lvlm.roomy import RoomyLayer


def _states(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 2, columns, 4), torch.randn(rows, 2, columns, 4)


def _prefix() -> DynamicCache:
    torch.manual_seed(0)
    cache = DynamicCache()
    for layer in range(2):
        cache.update(*_states(2, 5), layer)
    return cache


def _keys(cache: DynamicCache) -> torch.Tensor:
    return torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])


ROWS = torch.tensor([1, 0, 1])


def test_room_is_filled_in_place_and_holds_the_same() -> None:
    prefix = _prefix()
    plain, roomy = branch(prefix, ROWS), branch(prefix, ROWS, room=3)
    assert all(type(layer) is RoomyLayer for layer in roomy.layers)
    assert all(type(layer) is DynamicLayer for layer in prefix.layers)
    where = roomy.layers[0].keys.data_ptr()
    for columns in (2, 1, 2):  # the last does not fit
        states = _states(3, columns)
        for layer in range(2):
            for cache in (plain, roomy):
                cache.update(*states, layer)
        assert torch.equal(_keys(plain), _keys(roomy))
        assert (roomy.layers[0].keys.data_ptr() == where) == (roomy.get_seq_length() <= 8)
    assert prefix.get_seq_length() == 5


def test_branches_that_live_together_do_not_write_over_each_other() -> None:
    body = branch(_prefix(), ROWS, room=2)
    twins, expected = [], []
    for _ in range(3):
        twin, states = branch(body), _states(3, 1)
        expected.append(torch.cat([body.layers[0].keys, states[0]], 2))
        twin.update(*states, 0)
        twins.append(twin)
    for twin, keys in zip(twins, expected, strict=True):
        assert torch.equal(twin.layers[0].keys, keys)
    assert len({twin.layers[0].keys.data_ptr() for twin in twins}) == 3
    assert body.get_seq_length() == 5


def test_a_branch_that_is_gone_leaves_its_room() -> None:
    body = branch(_prefix(), ROWS, room=1)
    where = body.layers[0].keys.data_ptr()
    for _ in range(2):
        twin, states = branch(body), _states(3, 1)
        twin.update(*states, 0)
        assert twin.layers[0].keys.data_ptr() == where
        assert torch.equal(twin.layers[0].keys[:, :, 5:], states[0])
        twin.crop(-1)
        twin.update(*states, 0)
        assert twin.layers[0].keys.data_ptr() == where
        del twin


@pytest.mark.parametrize("change", ["reorder", "select", "repeat", "copy"])
def test_rows_that_move_take_their_columns_along(change: str) -> None:
    plain, roomy = branch(_prefix(), ROWS), branch(_prefix(), ROWS, room=4)
    first, then = _states(3, 2), None
    for n, cache in enumerate((plain, roomy)):
        for layer in range(2):
            cache.update(*first, layer)
        if change == "reorder":
            cache.reorder_cache(torch.tensor([2, 0, 1]))
        elif change == "select":
            cache.batch_select_indices(torch.tensor([2, 2]))
        elif change == "repeat":
            cache.batch_repeat_interleave(2)
        else:
            cache = copy.deepcopy(cache)
        then = then or _states(cache.layers[0].keys.shape[0], 1)
        for layer in range(2):
            cache.update(*then, layer)
        if n == 0:
            plain = cache
    assert torch.equal(_keys(plain), _keys(cache))
