"""Questions that list their answers: the right one is among them, and it is right."""

from __future__ import annotations

from collections import Counter

from wheresight.pocket.language import SIDES_OF, ask_with_options
from wheresight.pocket.scenes import CELLS, cell_of, sample_scene
from wheresight.stimuli.benchmarks.question import answer_with


def test_the_listed_answers_hold_the_right_one(rng, things):
    kinds = Counter()
    names = {thing.name: n for n, thing in enumerate(things.things)}
    for _ in range(300):
        scene = sample_scene(rng, things)
        question = ask_with_options(rng, scene, things)
        if question is None:
            continue
        kinds[question.task] += 1
        stem, listed = question.text.split("? ")
        if question.task == "where":
            options = CELLS
            thing = names[stem.removeprefix("Where is ")]
            own = [item for item in scene.placed if item.thing == thing]
            assert CELLS.index(question.answer) in {cell_of(item, 96) for item in own}
        else:
            options = tuple(SIDES_OF.values())
        assert question.answer in options
        words = listed.removeprefix("Answer with ").removesuffix(".").replace(" or ", ", ")
        assert sorted(words.split(", ")) == sorted(options)
    assert min(kinds["where"], kinds["where_relative"]) > 40


def test_the_list_is_worded_as_the_benchmarks_word_it(rng, things):
    seen = set()
    while len(seen) < 2:
        question = ask_with_options(rng, sample_scene(rng, things), things)
        if question and question.text.endswith(answer_with(CELLS)):
            seen.add("cells")
        if question and question.text.endswith(answer_with(tuple(SIDES_OF.values()))):
            seen.add("sides")
