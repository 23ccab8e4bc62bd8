"""2DS: what is asked is true of the picture, beyond dispute, and balanced."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks import open_benchmark
from wheresight.stimuli.benchmarks.relations import extreme, might_relate, only_one, relates
from wheresight.stimuli.benchmarks.shapes import COLOURS, SHAPES, Scene, Shape, draw
from wheresight.stimuli.benchmarks.twods import TwoDS
from wheresight.stimuli.benchmarks.twods_scenes import CATEGORIES, VARIANTS, Settings, plan

CENTRES = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}


@pytest.fixture(scope="module")
def whole() -> TwoDS:
    return TwoDS(Settings())


def named(scene: Scene, words: str) -> list[Shape]:
    """The shapes that words such as `red shape`, `circle` or `red circle` fit."""
    colour = next((c for c in COLOURS if words.startswith(c)), None)
    form = next((s for s in SHAPES if words.endswith(s)), None)
    return [
        shape
        for shape in scene.shapes
        if colour in (None, shape.colour) and form in (None, shape.shape)
    ]


def answer_of(scene: Scene, stem: str, margin: int = 40, ratio: float = 1.5) -> set[str]:
    """The right answers of a question, worked out from its words alone; several if disputable."""
    way = next(w for w in ("left", "right", "top", "bottom", "above", "below") if f" {w}" in stem)
    x, y = CENTRES[{"top": "above", "bottom": "below"}.get(way, way)]
    relative = f"{way} of the" in stem or f"{way} the" in stem

    def value(shape: Shape) -> str:
        start = stem.split(" is ")[0]
        return {"What color": shape.colour, "What shape": shape.shape}.get(start, shape.name)

    if not relative:
        reach = [s.x * x + s.y * y for s in scene.shapes]
        near = [s for s, r in zip(scene.shapes, reach, strict=True) if r > max(reach) - margin]
        return {value(s) for s in near} if len(near) == 1 else {"disputable", "really"}
    split = " of the " if way in ("left", "right") else f"{way} the "
    (other,) = named(scene, stem.rstrip("?").split(split)[1])

    def offsets(shape: Shape) -> tuple[int, int]:
        right, down = shape.x - other.x, shape.y - other.y
        return right * x + down * y, abs(right * y) + abs(down * x)

    if stem.startswith("Is the "):
        (one,) = named(scene, stem.removeprefix("Is the ").split(f" {way}")[0])
        along, across = offsets(one)
        assert abs(along) >= margin and abs(along) >= ratio * across
        return {"yes" if along > 0 else "no"}
    there = [s for s in scene.shapes if s is not other]
    maybe = [s for s in there if offsets(s)[0] > 0 and offsets(s)[1] < ratio * offsets(s)[0]]
    assert len(maybe) == 1
    along, across = offsets(maybe[0])
    assert along >= margin and along >= ratio * across
    return {value(maybe[0])}


def test_every_answer_is_right_beyond_dispute(whole: TwoDS) -> None:
    """By a second reading of the words, which knows nothing of how the question was made."""
    for question in whole.questions():
        scene = Scene.from_json(question.picture)
        assert answer_of(scene, question.stem) == {question.answer}, question


def test_the_published_size_and_balance(whole: TwoDS) -> None:
    questions = whole.questions()
    assert Counter(q.category for q in questions) == dict.fromkeys(CATEGORIES, 500)
    scenes = {q.cluster: Scene.from_json(q.picture) for q in questions}
    assert Counter(len(s.shapes) for s in scenes.values()) == dict.fromkeys(range(2, 7), 100)
    for category in CATEGORIES:
        mine = [q for q in questions if q.category == category]
        if category.endswith("rel"):
            answers = Counter(q.answer for q in mine)
            assert (answers["yes"], answers["no"]) == (125, 125)
            ways = Counter(w for q in mine for w in ("left", "right", "above", "below")
                           if f" {w} " in q.stem)  # fmt: skip
            assert all(100 < count < 150 for count in ways.values()) and sum(ways.values()) == 500
        else:
            sides = Counter(q.stem.rstrip("?").split()[-1] for q in mine)
            assert sides == dict.fromkeys(("left", "right", "top", "bottom"), 125)


def test_scenes_keep_to_the_recipe(whole: TwoDS) -> None:
    for question in whole.questions()[::6]:
        scene = Scene.from_json(question.picture)
        assert len({shape.name for shape in scene.shapes}) == len(scene.shapes)
        for n, shape in enumerate(scene.shapes):
            left, top, right, bottom = shape.box
            assert 48 <= shape.side <= 72 and right - left == bottom - top == shape.side
            assert min(left, top) >= 0 and max(right, bottom) <= 336
            assert all(shape.apart(other, 8) for other in scene.shapes[:n])


def test_options_hold_what_is_there_first(whole: TwoDS) -> None:
    places = Counter()
    for question in whole.questions():
        scene = Scene.from_json(question.picture)
        assert question.text == f"{question.stem} Answer with " + (
            ", ".join(question.options[:-1]) + f" or {question.options[-1]}."
        )
        if question.options == ("yes", "no"):
            assert question.present == 0.5
            continue
        places[question.right] += 1
        there = {v for s in scene.shapes for v in (s.colour, s.shape, s.name)}
        seen = [option for option in question.options if option in there]
        assert question.present == 1 / len(seen)
        # The thing that the question names is no candidate.
        reference = question.stem.rstrip("?").split(" the ")[-1].removesuffix(" shape")
        assert reference not in question.options
        candidates = len(scene.shapes) - question.category.endswith("rel")
        assert question.chance == 0.25 and len(seen) <= candidates
    assert all(abs(count / sum(places.values()) - 0.25) < 0.03 for count in places.values())


def test_a_picture_hangs_on_its_number_and_the_seed_alone(whole: TwoDS) -> None:
    few = TwoDS(Settings(images=7))
    assert few.questions() == whole.questions()[: 7 * 6]
    assert TwoDS(Settings(images=7)).fingerprint == few.fingerprint
    assert TwoDS(Settings(images=7, seed=1)).fingerprint != few.fingerprint
    random.seed(0)
    assert plan(Settings(), 3) == plan(Settings(images=1), 3)


def test_the_manifest_is_the_one_that_was_published(whole: TwoDS) -> None:
    """Whoever changes pictures, words or options must give the set another name or version."""
    assert whole.fingerprint == "a61029f05059c9b66fd7754b8704430c"


def test_pixels_show_the_shapes(whole: TwoDS) -> None:
    for question in whole.questions()[:60:6]:
        scene = Scene.from_json(question.picture)
        picture = whole.picture(question)
        assert (picture.mode, picture.size) == ("RGB", (336, 336))
        for shape in scene.shapes:
            assert picture.getpixel((shape.x, shape.y)) == COLOURS[shape.colour]
            left, top, right, bottom = shape.box
            outside = [(left - 2, top - 2), (right + 1, top - 2), (left - 2, bottom + 1)]
            assert all(picture.getpixel(place) == (255, 255, 255) for place in outside)
        assert picture.tobytes() == whole.picture(question).tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_its_box_and_no_two_look_alike(shape: str) -> None:
    def mask(form: str) -> bytes:
        scene = Scene((Shape(form, "black", 50, 50, 60),), 100)
        return draw(scene).convert("L").point(lambda v: 255 * (v < 128)).tobytes()

    seen = Image.frombytes("L", (100, 100), mask(shape))
    assert seen.getbbox() is not None
    left, top, right, bottom = seen.getbbox() or (0, 0, 0, 0)
    assert left in (20, 21) and top in (20, 21, 22) and right in (79, 80) and bottom in (79, 80)
    for other in SHAPES:
        differ = sum(a != b for a, b in zip(mask(shape), mask(other), strict=True))
        assert (differ == 0) == (other == shape) and (other == shape or differ > 300)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_right_too(variant: str) -> None:
    found = open_benchmark(f"2ds#images=8,variant={variant}")
    harder = Settings(**VARIANTS[variant])
    for question in found.questions():
        scene = Scene.from_json(question.picture)
        assert answer_of(scene, question.stem, harder.margin, harder.ratio) == {question.answer}
        assert bool(scene.strokes) == (variant == "distractors")
        assert (scene.texture is not None) == (variant == "texture")
        for left, top, right, bottom in scene.strokes:  # no stroke touches a shape
            box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            for shape in scene.shapes:
                a = shape.box
                assert max(a[0] - box[2], box[0] - a[2], a[1] - box[3], box[1] - a[3]) > 0
    if variant == "more_objects":
        counts = {len(Scene.from_json(q.picture).shapes) for q in found.questions()}
        assert counts == {7, 8, 9, 10}


def test_swapped_objects_change_the_answer_and_nothing_else(whole: TwoDS) -> None:
    left_out = Counter()
    for question in whole.questions()[:600]:
        swapped = whole.swapped(question)
        before = Scene.from_json(question.picture)
        if swapped is None:
            left_out[question.category] += 1
            assert question.present == 1.0  # nothing else that is there is among the options
            continue
        after = Scene.from_json(swapped.picture)
        assert (swapped.text, swapped.options) == (question.text, question.options)
        assert swapped.answer != question.answer
        assert answer_of(after, swapped.stem) == {swapped.answer}
        changed = [a != b for a, b in zip(before.shapes, after.shapes, strict=True)]
        assert sum(changed) == 2
        assert sorted(s.name for s in before.shapes) == sorted(s.name for s in after.shapes)
        assert [s.box for s in before.shapes] == [s.box for s in after.shapes]
    assert sum(left_out.values()) < 60


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=2, max_size=5, unique=True
    ),
    st.sampled_from(["left of", "right of", "above", "below"]),
)
def test_relations_by_the_definition(centres: list[tuple[int, int]], relation: str) -> None:
    shapes = [Shape("circle", "red", x, y, 10) for x, y in centres]
    one, other = shapes[:2]
    if relates(one, other, relation, 40, 1.5):
        assert might_relate(one, other, relation, 1.5)
        assert not any(
            might_relate(one, other, r, 1.5)
            for r in ("left of", "right of", "above", "below")
            if r != relation
        )
    turned = [replace(s, x=s.y, y=s.x) for s in shapes]  # the same, seen along the other diagonal
    swap = {"left of": "above", "above": "left of", "right of": "below", "below": "right of"}
    assert relates(*turned[:2], swap[relation], 40, 1.5) == relates(one, other, relation, 40, 1.5)
    found = only_one(shapes, 0, relation, 40, 1.5)
    might = [n for n in range(1, len(shapes))
             if might_relate(shapes[n], shapes[0], relation, 1.5)]  # fmt: skip
    assert found is None or might == [found]
    side = extreme(shapes, "left", 40)
    xs = sorted(x for x, _ in centres)
    assert (side is not None) == (xs[1] - xs[0] >= 40)
    assert side is None or shapes[side].x == xs[0]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("2ds#variant=easy", "Unknown variant of 2ds 'easy'"),
        ("2ds#images=0", "whole number of at least 1"),
        ("2ds#image=3", "Did you mean"),
        ("2ds:place", "has a place"),
        ("2ds#images", "name=value"),
        ("2dss", "Did you mean '2ds'?"),
        ("2ds#wording=rude", "Unknown wording"),
        ("2ds#control=nothing", "Unknown control"),
        ("2ds#part=half", "Unknown part"),
    ],
)
def test_bad_specs_are_said_to_be_bad(spec: str, said: str) -> None:
    with pytest.raises(StimulusError) as error:
        open_benchmark(spec)
    assert said in str(error.value)


def test_settings_that_allow_nothing_are_refused() -> None:
    with pytest.raises(StimulusError, match="Take fewer or smaller shapes"):
        TwoDS(Settings(images=1, canvas=160, counts=(2,), margin=120))


def test_a_damaged_recipe_is_refused() -> None:
    with pytest.raises(StimulusError, match="cannot be read"):
        Scene.from_json('{"shapes": []}')
