"""Scenes are the same for the same seed, centre-heavy, and true to what they say is in them."""

from __future__ import annotations

import numpy as np

from wheresight.pocket.language import PAPER, Stage, ask, relation_holds
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.scenes import CELLS, IGNORE, Placed, cell_of, sample_scene


def scenes(things, count, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, things, **options) for _ in range(count)]


def test_same_seed_same_scenes(things):
    for first, second in zip(scenes(things, 20), scenes(things, 20), strict=True):
        assert np.array_equal(first.pixels, second.pixels)
        assert first.placed == second.placed
        assert np.array_equal(first.patches, second.patches)


def test_scenes_are_centre_heavy(things):
    centres = [p.centre for s in scenes(things, 400, grid_share=0.0) for p in s.placed]
    middle = np.mean([all(32 <= value < 64 for value in centre) for centre in centres])
    corners = np.mean([all(abs(value - 48) > 16 for value in centre) for centre in centres]) / 4
    assert middle > 1.5 / 9
    assert middle > 2 * corners


def test_grids_are_rare_and_things_few(things):
    counts = [len(s.placed) for s in scenes(things, 400)]
    assert np.mean([count > 4 for count in counts]) < Recipe().grid_share
    assert min(counts) == 1


def test_patches_name_what_is_placed(things):
    for scene in scenes(things, 30):
        placed = {item.thing for item in scene.placed}
        seen = set(np.unique(scene.patches)) - {-1, IGNORE}
        assert seen <= placed
        assert scene.pixels.shape == (96, 96, 3)
        assert scene.pixels.dtype == np.uint8


def test_cells_and_relations():
    corner, middle = Placed(0, 0, 0, 0, 30), Placed(1, 1, 33, 33, 30)
    assert CELLS[cell_of(corner, 96)] == "top left"
    assert CELLS[cell_of(middle, 96)] == "center"
    assert cell_of(Placed(0, 0, 17, 17, 30), 96) is None
    assert relation_holds(corner, middle, "left of") is True
    assert relation_holds(corner, middle, "below") is False
    assert relation_holds(corner, Placed(1, 1, 4, 60, 30), "left of") is None


def test_answers_are_true_and_balanced(things):
    rng = np.random.default_rng(3)
    said = []
    for scene in scenes(things, 60, most=4):
        names = {things.names[item.thing] for item in scene.placed}
        for question in ask(rng, scene, things, 12, Stage(0.5)):
            if question.task == "match" and question.text.startswith("is "):
                assert (question.text.removeprefix("is ") in names) == (question.answer == "Yes")
                said.append(question.answer)
    assert 0.35 < np.mean([answer == "Yes" for answer in said]) < 0.65


def test_the_papers_question_is_word_for_word():
    assert PAPER == (
        "Determine if there is a sub-image in the given image that matches the text following.\n"
        "Text: {caption}\n"
        "The answer should only contain 'Yes' or 'No', without reasoning process.\n"
    )
