"""Pixels: exact, the same each time, and unchanged wherever the recipe says so."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli.composites import Recipe, boxes
from wheresight.stimuli.items import plan_items, recipes
from wheresight.stimuli.pairs import Pair
from wheresight.stimuli.render import Renderer, render

EIGHT = tuple(f"p{i}" for i in range(1, 9))
SMALL = Recipe("p0", EIGHT, 0, canvas=(96, 96), tile=32, seed=4)


class One:
    """A source of one picture, whatever is asked."""

    name = fingerprint = "one"

    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture

    def pairs(self) -> list[Pair]:
        return []

    def image(self, pair_id: str) -> Image.Image:
        return self.picture


def test_each_box_holds_its_picture(colours) -> None:
    picture = render(SMALL, colours)
    assert picture.mode == "RGB"
    assert picture.size == (96, 96)
    for name, box in zip(SMALL.tiles(), boxes(SMALL), strict=True):
        wanted = colours.image(name).getpixel((0, 0))
        assert (np.asarray(picture.crop(box)) == wanted).all()


def test_outside_the_boxes_is_background(colours) -> None:
    recipe = replace(SMALL, tile=20, background="#102030", jitter=(3, -2))
    pixels = np.asarray(render(recipe, colours)).copy()
    for left, top, right, bottom in boxes(recipe):
        pixels[top:bottom, left:right] = (16, 32, 48)
    assert (pixels == (16, 32, 48)).all()


def test_swap_changes_only_the_cells_that_trade_places(colours) -> None:
    home = np.asarray(render(replace(SMALL, cell=4), colours))
    for cell in (0, 1, 2, 3, 5, 6, 7, 8):
        moved = np.asarray(render(replace(SMALL, cell=cell), colours))
        changed = [
            n
            for n, (left, top, right, bottom) in enumerate(boxes(SMALL))
            if (home[top:bottom, left:right] != moved[top:bottom, left:right]).any()
        ]
        assert changed == sorted({4, cell})


def test_a_tile_has_the_same_pixels_in_every_cell() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    recipe = Recipe("k", EIGHT, 0)
    picture = np.asarray(render(recipe, One(Image.fromarray(noise))))
    tiles = [picture[top:bottom, left:right] for left, top, right, bottom in boxes(recipe)]
    assert all(np.array_equal(tile, tiles[0]) for tile in tiles)


@pytest.mark.parametrize(
    ("size", "inner"),
    [((100, 50), (0, 8, 32, 24)), ((50, 100), (8, 0, 24, 32)), ((5000, 1), (0, 15, 32, 16))],
)
def test_aspect_is_kept_and_centred(
    size: tuple[int, int], inner: tuple[int, int, int, int]
) -> None:
    recipe = Recipe("a", ("b",), 0, 1, 2, canvas=(64, 32), tile=32)
    picture = render(recipe, One(Image.new("RGB", size, "red")))
    pixels = np.asarray(picture.crop(boxes(recipe)[0]))
    red = (pixels == (255, 0, 0)).all(axis=-1)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == inner
    assert (pixels[~red] == 255).all()


def test_small_pictures_are_enlarged_to_their_box() -> None:
    recipe = Recipe("a", ("b",), 0, 1, 2, canvas=(64, 32), tile=32)
    picture = np.asarray(render(recipe, One(Image.new("RGB", (2, 2), "red"))))
    assert (picture == (255, 0, 0)).all()


def test_rendering_again_gives_the_same_pixels(colours) -> None:
    renderer = Renderer(colours)
    first = np.asarray(renderer.render(SMALL))
    assert np.array_equal(first, renderer.render(SMALL))
    assert np.array_equal(first, render(SMALL, colours))


def test_tiles_are_resized_once(colours) -> None:
    renderer = Renderer(colours)
    for cell in range(9):
        renderer.render(replace(SMALL, cell=cell))
    assert colours.asked == 9


def test_the_cache_is_bounded(colours) -> None:
    renderer = Renderer(colours, cache_bytes=3 * 32 * 32 * 4)
    wanted = np.asarray(render(SMALL, colours))
    for _ in range(3):
        assert np.array_equal(renderer.render(SMALL), wanted)
    assert len(renderer._tiles._held) == 4


def test_pictures_can_be_prepared(colours) -> None:
    renderer = Renderer(colours)
    found = [replace(SMALL, cell=cell) for cell in range(9)]
    renderer.prepare(found)
    assert colours.asked == 9
    renderer.render(found[3])
    assert colours.asked == 9


def test_png_is_lossless(colours, tmp_path: Path) -> None:
    renderer = Renderer(colours)
    renderer.to_png(SMALL, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.format == "PNG"
        assert np.array_equal(saved, renderer.render(SMALL))


def test_arrays_for_tensors(colours) -> None:
    renderer = Renderer(colours)
    batch = renderer.array([replace(SMALL, cell=cell) for cell in range(4)])
    assert batch.shape == (4, 96, 96, 3)
    assert batch.dtype == np.uint8
    assert np.array_equal(batch[2], renderer.render(replace(SMALL, cell=2)))


def test_a_thousand_small_composites_a_second(colours) -> None:
    renderer = Renderer(colours)
    found = [
        recipe
        for item in plan_items(colours.pairs(), 80, 3, 3)
        for recipe in recipes(item, 3, 3, canvas=96, tile=32)
    ]
    for recipe in found[:720]:
        renderer.render(recipe)
    start = time.perf_counter()
    for recipe in found:
        renderer.render(recipe)
    assert len(found) / (time.perf_counter() - start) >= 1000


def test_errors_of_the_source_pass_through() -> None:
    class Broken(One):
        def image(self, pair_id: str) -> Image.Image:
            raise StimulusError("gone")

    with pytest.raises(StimulusError, match="gone"):
        render(SMALL, Broken(Image.new("RGB", (1, 1))))
    with pytest.raises(StimulusError, match="gone"):
        Renderer(Broken(Image.new("RGB", (1, 1)))).prepare([SMALL])
