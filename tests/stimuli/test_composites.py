"""Recipes: geometry as measured, layouts as defined, JSON that comes back the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import StimulusError
from wheresight.stimuli.composites import (
    Recipe,
    boxes,
    colour,
    fitting_tile,
    jitter_room,
    parse_grid,
)

EIGHT = tuple("abcdefgh")
PAPER = Recipe("K", EIGHT, 0, layout="insert")


@st.composite
def recipe_of_any_grid(draw: st.DrawFn) -> Recipe:
    rows = draw(st.integers(1, 8))
    columns = draw(st.integers(2 if rows == 1 else 1, 8))
    canvas = (draw(st.integers(64, 900)), draw(st.integers(64, 900)))
    names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    cells = rows * columns
    ids = draw(st.lists(names, min_size=cells, max_size=cells, unique=True))
    tile = draw(st.integers(1, fitting_tile(rows, columns, canvas)))
    right, down = jitter_room(rows, columns, canvas, tile)
    return Recipe(
        key=ids[0],
        distractors=tuple(ids[1:]),
        cell=draw(st.integers(0, cells - 1)),
        rows=rows,
        columns=columns,
        layout=draw(st.sampled_from(["swap", "insert"])),
        canvas=canvas,
        tile=tile,
        background=draw(st.sampled_from(["white", "black", "#12aBf0"])),
        jitter=(draw(st.integers(-right, right)), draw(st.integers(-down, down))),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


def test_the_paper_grid_begins_at_8_285_562() -> None:
    found = boxes(PAPER)
    assert [box[0] for box in found[:3]] == [8, 285, 562]
    assert [box[1] for box in found[::3]] == [8, 285, 562]
    assert {(right - left, bottom - top) for left, top, right, bottom in found} == {(270, 270)}
    assert [round(7.5 + 277.5 * n) for n in range(3)] == [8, 285, 562]


def test_the_paper_defaults_follow_from_the_rule() -> None:
    assert fitting_tile(3, 3, (840, 840)) == 270
    assert (PAPER.canvas, PAPER.tile, PAPER.background) == ((840, 840), 270, "white")


def test_the_pocket_grid_fills_its_canvas() -> None:
    found = boxes(replace(PAPER, canvas=(96, 96), tile=32))
    assert found[0] == (0, 0, 32, 32)
    assert found[5] == (64, 32, 96, 64)


def test_insert_slides_the_distractors() -> None:
    assert "".join(replace(PAPER, cell=0).tiles()) == "Kabcdefgh"
    assert "".join(replace(PAPER, cell=4).tiles()) == "abcdKefgh"
    assert "".join(replace(PAPER, cell=8).tiles()) == "abcdefghK"


def test_swap_trades_places_with_the_tile_at_home_there() -> None:
    recipe = Recipe("K", EIGHT, 4, seed=4)
    assert "".join(recipe.tiles()) == "abcdKefgh"
    assert "".join(replace(recipe, cell=0).tiles()) == "Kbcdaefgh"
    assert "".join(replace(recipe, cell=8).tiles()) == "abcdhefgK"


@given(recipe_of_any_grid())
@settings(max_examples=150, deadline=None)
def test_every_pair_stands_once_and_the_key_where_asked(recipe: Recipe) -> None:
    tiles = recipe.tiles()
    assert sorted(tiles) == sorted((recipe.key, *recipe.distractors))
    assert tiles[recipe.cell] == recipe.key


@given(recipe_of_any_grid())
@settings(max_examples=60, deadline=None)
def test_swap_changes_two_cells_from_home_and_three_elsewhere(recipe: Recipe) -> None:
    recipe = replace(recipe, layout="swap")
    cells = recipe.rows * recipe.columns
    home = recipe.seed % cells
    at = [replace(recipe, cell=cell).tiles() for cell in range(cells)]
    for one in range(cells):
        for other in range(one):
            differ = sum(a != b for a, b in zip(at[one], at[other], strict=True))
            assert differ == (2 if home in (one, other) else 3)


@given(recipe_of_any_grid())
@settings(max_examples=150, deadline=None)
def test_boxes_are_square_apart_and_on_the_canvas(recipe: Recipe) -> None:
    found = boxes(recipe)
    assert len(found) == recipe.rows * recipe.columns
    for n, (left, top, right, bottom) in enumerate(found):
        assert 0 <= left < right <= recipe.canvas[0]
        assert 0 <= top < bottom <= recipe.canvas[1]
        assert right - left == bottom - top == recipe.tile
        if n % recipe.columns:
            assert left >= found[n - 1][2]
        if n >= recipe.columns:
            assert top >= found[n - recipe.columns][3]


@given(recipe_of_any_grid())
@settings(max_examples=150, deadline=None)
def test_json_round_trip(recipe: Recipe) -> None:
    text = recipe.to_json()
    back = Recipe.from_json(text)
    assert back == recipe
    assert back.to_json() == text


def test_json_is_canonical() -> None:
    text = PAPER.to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "4"},
        {"cell": True},
        {"canvas": [840]},
        {"canvas": 840},
        {"distractors": "abcdefgh"},
        {"distractors": [1] * 8},
        {"seed": -1},
        {"tile": 2.5},
        {"more": 1},
        {"cell": 9},
        {"rows": 9},
        {"background": "whitish"},
        {"layout": "swop"},
    ],
)
def test_json_that_is_no_recipe_is_refused(change: dict[str, object]) -> None:
    text = json.dumps(json.loads(PAPER.to_json()) | change)
    with pytest.raises(StimulusError):
        Recipe.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '"x"'])
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(StimulusError, match="The recipe"):
        Recipe.from_json(text)


@pytest.mark.parametrize(("text", "wanted"), [("3x3", (3, 3)), ("1x2", (1, 2)), (" 8 X 8", (8, 8))])
def test_grids(text: str, wanted: tuple[int, int]) -> None:
    assert parse_grid(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "3", "3x", "x3", "1x1", "0x3", "9x3", "3x9", "3x3x3", "-3x3", "3.5x3", "999x999"],
)
def test_unknown_grids_are_refused(text: str) -> None:
    with pytest.raises(StimulusError, match=r"Unknown grid.*1x2 to 8x8"):
        parse_grid(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"distractors": EIGHT[:7]}, "7 distractors.*needs 8"),
        ({"distractors": (*EIGHT[:7], "K")}, "twice"),
        ({"cell": 9}, "Cell 9.*0 to 8"),
        ({"cell": -1}, "Cell -1"),
        ({"tile": 281}, "at most 280"),
        ({"tile": 0}, "0 px tiles"),
        ({"canvas": (0, 840)}, "canvas is 0 x 840"),
        ({"canvas": (9000, 840)}, "canvas is 9000"),
        ({"jitter": (9, 0)}, "jitter"),
        ({"jitter": (0, 9)}, "jitter"),
        ({"jitter": (-9, 0)}, "jitter"),
        ({"jitter": (0, -9)}, "jitter"),
        ({"layout": "insret"}, "Did you mean 'insert'"),
        ({"background": "#12"}, "Unknown background"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(StimulusError, match=words):
        replace(PAPER, **change)


def test_jitter_moves_all_boxes_alike() -> None:
    moved = boxes(replace(PAPER, jitter=(-7, 5)))
    for (left, top, right, bottom), was in zip(moved, boxes(PAPER), strict=True):
        assert (left + 7, top - 5, right + 7, bottom - 5) == was


def test_colours() -> None:
    assert colour("white") == (255, 255, 255)
    assert colour("#102030") == (16, 32, 48)
