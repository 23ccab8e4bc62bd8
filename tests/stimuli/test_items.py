"""Planning: the same item whatever else is planned, and nothing in it that spoils the question."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import StimulusError
from wheresight.stimuli.items import Item, plan_items, recipes
from wheresight.stimuli.pairs import Pair


def emoji(count: int = 60) -> list[Pair]:
    """Two styles of each thing, siblings 2k and 2k+1, every fifth caption in two spellings."""
    found = []
    for i in range(count):
        for style in "ab":
            name = f"Thing {i}" if style == "a" and i % 5 == 0 else f"thing {i}"
            found.append(Pair(f"{style}{i}", name, f"g{i}", (f"{style}{i ^ 1}",)))
    return found


def check(item: Item, pairs: list[Pair]) -> None:
    by_id = {pair.id: pair for pair in pairs}
    tiles = [by_id[name] for name in (item.key, *item.distractors)]
    absent = by_id[item.absent_from]
    assert absent.caption == item.absent_caption
    assert by_id[item.key].caption == item.caption
    everyone = [*tiles, absent]
    assert len({pair.group for pair in everyone}) == len(everyone)
    assert len({pair.caption.casefold() for pair in everyone}) == len(everyone)
    key = tiles[0]
    kin = {by_id[name].group for name in key.siblings if name in by_id}
    assert not kin & {pair.group for pair in tiles[1:]}
    for tile in tiles:
        near = {by_id[name].group for name in tile.siblings if name in by_id}
        assert absent.group not in near
        assert tile.group not in {by_id[n].group for n in absent.siblings if n in by_id}
    if item.sibling is not None:
        assert item.sibling in key.siblings
        assert by_id[item.sibling].group != key.group
        assert item.sibling not in item.distractors


@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 2), (2, 1), (2, 2), (3, 3), (4, 5), (5, 5)]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_no_tile_and_no_caption_is_ambiguous(seed: int, grid: tuple[int, int], kin: bool) -> None:
    pairs = emoji()
    for item in plan_items(pairs, 30, *grid, seed, kin):
        check(item, pairs)
        assert len(item.distractors) == grid[0] * grid[1] - 1
        assert (item.sibling is not None) == kin


@st.composite
def any_pairs(draw: st.DrawFn) -> list[Pair]:
    size = draw(st.integers(0, 30))
    names = [str(i) for i in range(size)]
    few = st.sampled_from([f"{letter}{i}" for letter in "aA" for i in range(12)])
    kin = st.lists(st.sampled_from([*names, "gone"]), max_size=2).map(tuple)
    return [Pair(name, draw(few), draw(few).lower(), draw(kin)) for name in names]


@given(any_pairs(), st.sampled_from([(1, 2), (2, 2), (2, 3)]), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_any_source_gives_clean_items_or_a_clear_error(
    pairs: list[Pair], grid: tuple[int, int], seed: int
) -> None:
    try:
        items = plan_items(pairs, 12, *grid, seed)
    except StimulusError:
        return
    for item in items:
        check(item, pairs)


def test_an_item_is_the_same_whatever_else_is_planned() -> None:
    pairs = emoji()
    many = plan_items(pairs, 500, 3, 3, 7)
    assert plan_items(pairs, 10, 3, 3, 7) == many[:10]
    shuffled = random.Random(1).sample(pairs, len(pairs))
    assert plan_items(shuffled, 500, 3, 3, 7) == many
    without = plan_items(pairs, 500, 3, 3, 7, siblings=False)
    assert [item.distractors for item in without] == [item.distractors for item in many]


def test_global_random_state_does_not_matter() -> None:
    pairs = emoji()
    random.seed(1)
    one = plan_items(pairs, 5, 3, 3)
    random.seed(2)
    assert plan_items(pairs, 5, 3, 3) == one


def test_a_plan_is_pinned() -> None:
    """A change here would change the stimuli of every run: raise the version if it must be."""
    item = plan_items(emoji(), 1, 2, 2, 0)[0]
    assert item == Item(
        id="b58@0.0",
        key="b58",
        caption="thing 58",
        distractors=("b6", "a21", "b42"),
        absent_caption="thing 32",
        absent_from="b32",
        sibling="b59",
    )
    assert item.seed == 3099053820849602118


def test_seeds_differ() -> None:
    pairs = emoji()
    assert plan_items(pairs, 20, 3, 3, 0) != plan_items(pairs, 20, 3, 3, 1)


def test_smaller_grids_take_the_first_distractors_of_larger_ones() -> None:
    pairs = emoji()
    for small, large in zip(plan_items(pairs, 9, 2, 2), plan_items(pairs, 9, 4, 4), strict=True):
        assert large.distractors[:3] == small.distractors


def test_keys_go_round_with_other_distractors() -> None:
    pairs = emoji(20)
    items = plan_items(pairs, 100, 3, 3)
    keys = [item.key for item in items]
    assert sorted(keys[:40]) == sorted(pair.id for pair in pairs)
    assert keys[40:80] == keys[:40]
    assert items[0].distractors != items[40].distractors
    assert len({item.id for item in items}) == 100
    assert len({item.seed for item in items}) == 100


def test_draws_are_even() -> None:
    pairs = [Pair(str(i), f"c{i}", f"g{i}") for i in range(20)]
    counts = dict.fromkeys((pair.id for pair in pairs), 0)
    absents = dict(counts)
    for item in plan_items(pairs, 4000, 3, 3):
        absents[item.absent_from] += 1
        for name in item.distractors:
            counts[name] += 1
    # 4000 items x 8 of 20: 1600 each, standard deviation near 30; absent 200 each, near 14.
    assert all(1450 < count < 1750 for count in counts.values())
    assert all(135 < count < 265 for count in absents.values())


@pytest.mark.parametrize(
    ("count", "grid", "words"),
    [
        (9, (3, 3), "3x3 grid needs at least 10.*9 pairs"),
        (1, (1, 2), "1x2 grid needs at least 3"),
        (0, (1, 2), "0 pairs"),
    ],
)
def test_fewer_pictures_than_the_grid_needs(count: int, grid: tuple[int, int], words: str) -> None:
    pairs = [Pair(str(i), f"c{i}", f"g{i}") for i in range(count)]
    with pytest.raises(StimulusError, match=words):
        plan_items(pairs, 1, *grid)


def test_many_pictures_of_one_group_are_not_enough() -> None:
    pairs = [Pair(str(i), f"c{i}", f"g{i % 4}") for i in range(100)]
    with pytest.raises(StimulusError, match="100 pairs in 4 groups with 100 captions"):
        plan_items(pairs, 1, 2, 2)


def test_siblings_that_use_up_the_absent_captions() -> None:
    pairs = [Pair(str(i), f"c{i}", f"g{i}", (str(i ^ 1),)) for i in range(4)]
    with pytest.raises(StimulusError, match="caption that fits no tile"):
        plan_items(pairs, 4, 1, 2)


def test_exactly_enough_is_enough() -> None:
    pairs = [Pair(str(i), f"c{i}", f"g{i}") for i in range(10)]
    for item in plan_items(pairs, 30, 3, 3):
        check(item, pairs)


def test_bad_plans() -> None:
    pairs = emoji()
    with pytest.raises(StimulusError, match="0 items"):
        plan_items(pairs, 0, 3, 3)
    with pytest.raises(StimulusError, match="Unknown grid 9x9"):
        plan_items(pairs, 1, 9, 9)
    with pytest.raises(StimulusError, match="the id 'a0'"):
        plan_items([*pairs, pairs[0]], 1, 3, 3)


def test_siblings_outside_the_source_are_passed_over() -> None:
    pairs = [Pair(str(i), f"c{i}", f"g{i}", ("gone",)) for i in range(12)]
    assert all(item.sibling is None for item in plan_items(pairs, 12, 3, 3))


def test_recipes_put_the_key_in_each_cell_once() -> None:
    item = plan_items(emoji(), 1, 3, 3)[0]
    found = recipes(item, 3, 3, canvas=96, tile=32)
    assert [recipe.cell for recipe in found] == list(range(9))
    assert {recipe.seed for recipe in found} == {item.seed}
    assert found[0].canvas == (96, 96)


def test_jitter_is_drawn_once_per_item_and_stays_in_the_margin() -> None:
    items = plan_items(emoji(), 120, 3, 3)
    shifts = set()
    for item in items:
        found = {recipe.jitter for recipe in recipes(item, 3, 3, canvas=96, tile=28, jitter=3)}
        assert len(found) == 1
        shifts |= found
    assert {right for right, _ in shifts} == set(range(-3, 4))
    with pytest.raises(StimulusError, match="3 px of margin.*make the tiles smaller"):
        recipes(items[0], 3, 3, canvas=96, tile=28, jitter=4)


def test_90_000_recipes_are_planned_in_seconds() -> None:
    start = time.perf_counter()
    items = plan_items(emoji(1000), 10_000, 3, 3)
    count = sum(len(recipes(item, 3, 3)) for item in items)
    assert count == 90_000
    assert time.perf_counter() - start < 10
