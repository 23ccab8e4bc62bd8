"""Readers of free text: what each takes a text to say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.probes.text_answers import (
    TextAnswer,
    letter,
    mentions,
    read,
    substring_published,
    yes_no_published,
)

OPTIONS = ("left", "right", "on", "under")
CELLS = ("top left", "top", "left", "center")


@pytest.mark.parametrize(
    ("text", "exact", "strict", "first", "last"),
    [
        ("Left", 0, 0, 0, 0),
        (" the left. ", 0, 0, 0, 0),
        ("The mug is to the right of the chair.", None, 1, 1, 1),
        ("Left, left and left again", None, 0, 0, 0),
        # The sentences that a published score counts as Under: they name two options.
        ("The mug is on the floor, under the chair.", None, None, 2, 3),
        ("The mug is on the left.", None, None, 2, 0),
        ("A spoon, brightly lit", None, None, None, None),
        ("", None, None, None, None),
    ],
)
def test_readers(
    text: str, exact: int | None, strict: int | None, first: int | None, last: int | None
) -> None:
    assert read(text, OPTIONS) == TextAnswer(exact, strict, first, last, None)


def test_a_longer_option_hides_what_is_inside_of_it() -> None:
    assert read("Top  Left", CELLS) == TextAnswer(0, 0, 0, 0, None)
    assert mentions("at the top, or the top left, or left", CELLS) == [1, 0, 2]
    grid = ("row 1 column 1", "row 1 column 10")
    assert read("row 1 column 10", grid).strict == 1


def test_options_with_signs_in_them() -> None:
    assert mentions("I like C++ and C#, not C.", ("C", "C++", "C#")) == [1, 2, 0]
    assert mentions("it costs 3.5, not 3x5", ("3.5", "9")) == [0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("B", 1), ("b.", 1), ("(C) under", 2), ("D: on", 3), ("Answer: C", 2), ("Option A", 0),
        ("The answer is (b)", 1), ("A", 0), ("A.", 0), ("a) left", 0),
        ("A mug is there", None), ("I see a mug", None), ("Bright", None), ("E", None), ("", None),
        ("left", None), ("1", None),
    ],
)  # fmt: skip
def test_letters(text: str, number: int | None) -> None:
    assert letter(text, 4) == number


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("abc ", min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=5),
    st.text("abcAB ,.", max_size=30),
)
def test_strict_agrees_with_first_and_last(options: list[str], text: str) -> None:
    kept = list({" ".join(o.split()): None for o in options})
    found = read(text, kept)
    named = mentions(text, kept)
    assert (found.first is None) == (found.last is None) == (not named)
    if found.strict is not None:
        assert found.first == found.last == found.strict
        assert kept[found.strict].casefold() in " ".join(text.split()).casefold()
    if found.exact is not None and kept[found.exact].split()[0] not in ("a", "an", "the"):
        assert found.first is not None


def test_the_published_readers_with_their_faults() -> None:
    assert substring_published("The mug is on the table", "On")
    assert substring_published("It is a spoon", "on")  # a part of a word
    assert not substring_published("on the front", "On")  # but on is refused beside front
    assert substring_published("left or right", "Left") and substring_published(
        "left or right", "Right"
    )
    assert yes_no_published("Yes, it is", "yes") and not yes_no_published("yes", "yes")
    assert yes_no_published("Not at all", "no") and yes_no_published("None", "no")
    assert not yes_no_published("no", "no")
