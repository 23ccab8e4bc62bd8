"""Parts of benchmarks, and controls."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks import Controlled, Question, open_benchmark, parts
from wheresight.stimuli.benchmarks.controls import added, exchange, mirrored, permuted
from wheresight.stimuli.benchmarks.question import answer_with, bare, lettered

OPTIONS = ("left", "right", "on", "under")


def ask(right: int = 0, options: tuple[str, ...] = OPTIONS, **more: object) -> Question:
    stem = str(more.pop("stem", "Where is the mug?"))
    text = f"{stem} {answer_with(options)}"
    made = Question("q", "p.png", "p", stem, text, options, right)
    return replace(made, **more)


# ---- parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "validation"),
    [(412, 82), (408, 81), (2247, 449), (440, 88), (1160, 232), (291, 58), (1222, 244)],
)
def test_the_published_split(count: int, validation: int) -> None:
    """Sizes of all seven validation parts, as published."""
    mine, test = parts.adaptvis_split(count)
    assert len(mine) == validation and sorted(mine + test) == list(range(count))
    assert mine == sorted(mine)


def test_the_published_split_index_for_index() -> None:
    """Rows of the released prompts that a public run of the released code was validated on.

    Its results name their prompts in order: wineglass and table (row 1), glass and armchair (4),
    mug and armchair (11), hat and chair (13), bottle and chair (14), cap and chair (15), plant and
    table (17). The rest is what `random.seed(1); random.sample(range(412), 82)` draws.
    """
    validation, test = parts.adaptvis_split(412)
    assert validation[:7] == [1, 4, 11, 13, 14, 15, 17]
    assert validation[-6:] == [390, 391, 392, 403, 408, 410]
    assert test[:5] == [0, 2, 3, 5, 6]


def made(sets: list[int]) -> list[Question]:
    return [
        replace(ask(), id=f"{n}.{k}", group=f"g{n}", cluster=f"c{n}")
        for n, size in enumerate(sets)
        for k in range(size)
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=40), st.floats(0.05, 0.9), st.integers(0, 9)
)
def test_no_set_is_cut(sets: list[int], share: float, seed: int) -> None:
    questions = made(sets)
    validation, test = parts.split(questions, share, seed)
    assert sorted(validation + test) == list(range(len(questions)))
    assert validation and test
    assert not {questions[n].group for n in validation} & {questions[n].group for n in test}
    largest = max(sets)
    assert len(validation) <= max(share * len(questions), largest)
    again = [questions[n] for n in reversed(range(len(questions)))]
    ids = {questions[n].id for n in validation}
    if len(set(sets)) == 1:  # order then decides nothing
        assert {again[n].id for n in parts.split(again, share, seed)[0]} == ids


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 40))
def test_a_sample_is_of_whole_sets_and_grows(sets: list[int], count: int) -> None:
    questions = made(sets)
    chosen = parts.sample(questions, count)
    sizes = Counter(questions[n].group for n in chosen)
    assert all(size == sets[int(group[1:])] for group, size in sizes.items())
    assert min(count, len(questions)) <= len(chosen) < count + 5
    assert set(chosen) <= set(parts.sample(questions, count + 3))


def test_parts_and_wordings_of_a_spec() -> None:
    whole = open_benchmark("2ds#images=20")
    test = open_benchmark("2ds#images=20,part=test")
    validation = open_benchmark("2ds#images=20,part=validation")
    assert len(test.questions()) + len(validation.questions()) == 120
    assert not {q.cluster for q in test.questions()} & {q.cluster for q in validation.questions()}
    assert test.fingerprint != whole.fingerprint
    few = open_benchmark("2ds#images=20,part=test,sample=12")
    assert len(few.questions()) == 12
    assert {q.id for q in few.questions()} < {q.id for q in test.questions()}
    control = open_benchmark("2ds#images=20,part=test,sample=12,control=mirror")
    assert [q.id for q in control.questions()] == [q.id for q in few.questions()]
    letters = open_benchmark("2ds#images=1,wording=letters").questions()
    assert letters[0].text.split("\n")[1:-1] == [
        f"{letter}. {option}" for letter, option in zip("ABCD", letters[0].options, strict=True)
    ]
    assert open_benchmark(few.name).questions() == few.questions()
    stems = open_benchmark("2ds#images=1,wording=bare").questions()
    assert all(q.text == q.stem for q in stems)


# ---- questions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "right"),
    [
        (("a",), 0),
        (("a", "A "), 0),
        (("a", ""), 0),
        (("a", "b"), 2),
        (tuple("abcdefghijklmnopqrstuvwxyz0"), 0),
    ],
)
def test_questions_that_do_not_fit_together(options: tuple[str, ...], right: int) -> None:
    with pytest.raises(StimulusError):
        Question("q", "p", "p", "?", "?", options, right)


def test_wordings() -> None:
    question = ask(1)
    assert bare(question).text == "Where is the mug?"
    assert lettered(question).text == (
        "Where is the mug?\nA. left\nB. right\nC. on\nD. under\n"
        "Answer with the letter of the right option."
    )
    assert lettered(question).answer == "right"


# ---- controls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "then"), [(0, 1), (1, 0), (2, 2), (3, 3)])
def test_mirrored_answers(right: int, then: int) -> None:
    """WhatsUp: the list of options stays, left becomes right, on stays on."""
    found = mirrored(ask(right))
    assert (found.text, found.options, found.right) == (ask().text, OPTIONS, then)


def test_mirrored_words() -> None:
    colour = mirrored(ask(stem="What color is left of the bright shape?", options=("red", "blue")))
    assert colour.text == "What color is right of the bright shape? Answer with red or blue."
    assert colour.answer == "red"
    alone = mirrored(ask(0, ("on the left", "in the middle")))
    assert alone.options == ("on the right", "in the middle") and alone.right == 0
    assert alone.text.endswith("Answer with on the right or in the middle.")
    cells = mirrored(ask(0, ("top left", "top right", "center")))
    assert cells.answer == "top right" and cells.options[0] == "top left"
    assert exchange("LEFT Left left upright") == "RIGHT Right right upright"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["left", "right", "top left", "top right", "on", "blue"]),
             min_size=2, max_size=6, unique=True),
    st.sampled_from(["Where is it?", "Is it left of the right one?"]),
)  # fmt: skip
def test_mirroring_twice_changes_nothing(options: list[str], stem: str) -> None:
    question = ask(0, tuple(options), stem=stem)
    assert mirrored(mirrored(question)) == question


def test_the_mirrored_picture_is_true() -> None:
    """2DS drawn left for right: the shape that the mirrored words ask for is the answer."""
    whole = open_benchmark("2ds#images=12")
    control = Controlled(whole, "mirror")
    for question, other in zip(whole.questions(), control.questions(), strict=True):
        assert (
            control.picture(other).tobytes() == ImageOps.mirror(whole.picture(question)).tobytes()
        )
        assert other.answer == question.answer
        assert other.stem == exchange(question.stem)


def test_blank_pictures_keep_size_and_question() -> None:
    whole = open_benchmark("2ds#images=2")
    control = Controlled(whole, "blank")
    assert control.questions() == whole.questions()
    assert control.picture(control.questions()[0]).getcolors() == [(336 * 336, (255, 255, 255))]
    assert control.fingerprint != whole.fingerprint


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(0, 8), st.text("abcdef", max_size=5))
def test_permuted_options(count: int, right: int, name: str) -> None:
    options = tuple(f"word{n}" for n in range(count))
    question = ask(right % count, options, id=name)
    found = permuted(question)
    assert sorted(found.options) == sorted(options) and found.answer == question.answer
    assert all(a != b for a, b in zip(options, found.options, strict=True))
    assert found.text == f"Where is the mug? {answer_with(found.options)}"


def test_an_added_option_is_wrong_and_in_the_text() -> None:
    found = added(ask(3), "inside")
    assert found is not None and found.answer == "under" and len(found.options) == 5
    assert found.text == f"Where is the mug? {answer_with(found.options)}"
    assert added(ask(), None) is None
    for name in ("2ds#images=10", "2ds#images=10,variant=more_objects"):
        whole = open_benchmark(name)
        control = Controlled(whole, "added")
        before = {q.id: q for q in whole.questions()}
        assert len(control.questions()) > 40
        for question in control.questions():
            old = before[question.id]
            (new,) = set(question.options) - set(old.options)
            assert question.answer == old.answer
            if new != "unsure":  # a shape or colour that is not in the picture at all
                kind = "colour" if old.category.startswith("color") else "shape"
                if old.category.startswith(("color", "shape_a", "shape_r")):
                    assert not re.search(rf'"{kind}":"{new}"', old.picture)


def test_controls_that_change_nothing_are_refused() -> None:
    with pytest.raises(StimulusError, match="does not name its options"):
        permuted(bare(ask()))
    with pytest.raises(StimulusError, match="cannot trade places"):
        open_benchmark("localisation#items=1,control=swap")
    with pytest.raises(StimulusError, match="can change no question"):
        open_benchmark("localisation#items=1,control=added")
