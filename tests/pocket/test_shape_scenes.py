"""Pictures of shapes for training: what is asked is true, and what is under a patch is there."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from wheresight.pocket.scenes import ABSENT, IGNORE
from wheresight.pocket.shape_scenes import CANVAS, NAMES, ask_of_shapes, sample_shape_scene
from wheresight.stimuli.benchmarks.shapes import COLOURS


@pytest.fixture(scope="module")
def shown():
    rng = np.random.default_rng(1)
    return [sample_shape_scene(rng) for _ in range(150)]


def test_shapes_differ_and_do_not_touch(shown):
    for picture in shown:
        shapes = picture.scene.shapes
        assert 2 <= len(shapes) <= 6
        assert len({shape.name for shape in shapes}) == len(shapes)
        for n, one in enumerate(shapes):
            assert all(one.apart(other, 5) for other in shapes[n + 1 :])
            assert min(one.box) >= 0 and max(one.box) <= CANVAS
        assert picture.pixels.shape == (96, 96, 3) and picture.pixels.dtype == np.uint8


def test_a_named_patch_has_the_colour_of_its_shape(shown):
    """The patch's most coloured pixel is near the colour of the shape that is said to be there."""
    seen = 0
    for picture in shown:
        if picture.scene.texture is not None:
            continue
        for row, column in np.argwhere(picture.patches >= 0):
            name = NAMES[picture.patches[row, column]]
            assert name in {shape.name for shape in picture.scene.shapes}
            window = picture.pixels[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            far = np.abs(window.astype(int) - COLOURS[name.split()[0]]).max(-1)
            seen += far.min() < 40
    named = sum((p.patches >= 0).sum() for p in shown if p.scene.texture is None)
    assert named > 500 and seen / named > 0.95


def test_a_free_patch_is_white(shown):
    for picture in shown:
        free = np.kron(picture.patches == ABSENT, np.ones((16, 16), dtype=bool))
        if picture.scene.texture is None:
            assert (picture.pixels[free] > 200).mean() > 0.97
        assert (picture.patches == IGNORE).any() or (picture.patches >= 0).any()


def test_the_answers_are_true(shown):
    """Checked from the shapes' own places, for every kind of question that says where."""
    rng = np.random.default_rng(2)
    tasks = Counter()
    for picture in shown:
        shapes = {shape.name: shape for shape in picture.scene.shapes}
        for question in ask_of_shapes(rng, picture, 8):
            tasks[question.task] += 1
            stem = question.text.split("?")[0]
            if question.task == "shape_color_rel" and stem.startswith("Is the "):
                first, way, second = _relation(stem.removeprefix("Is the "))
                holds = _is(shapes[first], shapes[second], way)
                assert question.answer == ("Yes" if holds else "No"), question
            if stem.startswith("What is on the left") and "\n" not in question.text:
                leftmost = min(shapes.values(), key=lambda shape: shape.x)
                assert question.answer == leftmost.name
            if " or " in question.text and question.task.endswith("_abs"):
                assert question.answer in question.text or len(question.answer) == 1
    assert set(tasks) == {
        "match", "color_abs", "color_rel", "shape_abs", "shape_rel", "shape_color_abs",
        "shape_color_rel",
    }  # fmt: skip
    assert min(tasks.values()) > 30


def _relation(text: str) -> tuple[str, str, str]:
    for way in ("left of", "right of", "above", "below"):
        if f" {way} the " in text:
            first, second = text.split(f" {way} the ")
            return first, way, second
    raise AssertionError(text)


def _is(one, other, way: str) -> bool:
    return {
        "left of": one.x < other.x,
        "right of": one.x > other.x,
        "above": one.y < other.y,
        "below": one.y > other.y,
    }[way]
