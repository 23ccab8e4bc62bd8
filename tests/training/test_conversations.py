"""LLaVA's rows and TRL's messages become one form; what does not fit is told by row."""

from __future__ import annotations

from typing import Any

import pytest

from wheresight.errors import StimulusError
from wheresight.training.conversations import conversation_of


def llava(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": a, "value": b} for a, b in turns], **more}


def said(row: dict[str, Any]) -> list[tuple[str, tuple[str | None, ...]]]:
    return [(turn.role, turn.parts) for turn in conversation_of(row, "row").turns]


def test_a_row_of_llava() -> None:
    row = llava(("human", "<image>\nWhat is it?"), ("gpt", "A cat."), image="coco/1.jpg", id=7)
    assert said(row) == [("user", (None, "What is it?")), ("assistant", ("A cat.",))]
    assert conversation_of(row, "row").pictures == ("coco/1.jpg",)


def test_a_picture_alone_in_its_turn_comes_first() -> None:
    """As in LLaVA's own code."""
    row = llava(("human", "What is it?\n<image>"), ("gpt", "A cat."), image="1.jpg")
    assert said(row)[0] == ("user", (None, "What is it?"))


def test_several_pictures_stand_where_they_are_named() -> None:
    text = "<image>\nOne, <image> two <image>"
    row = llava(("human", text), ("gpt", "Yes"), image=["1.jpg", "2.jpg", "3.jpg"])
    assert said(row)[0] == ("user", (None, "One,", None, "two", None))


def test_text_alone_is_kept_as_it_is() -> None:
    row = llava(("human", " Hi \n"), ("gpt", " Hello "), model="", id="x")
    assert said(row) == [("user", (" Hi \n",)), ("assistant", (" Hello ",))]
    assert conversation_of(row, "row").pictures == ()


def test_what_is_before_the_first_question_and_behind_the_last_answer_is_left_out() -> None:
    turns = (("gpt", "Welcome"), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"))
    assert said(llava(*turns)) == [("user", ("Hi",)), ("assistant", ("Hello",))]


def test_messages_of_trl() -> None:
    row = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?"},
            {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        ],
        "images": ["1.jpg", {"bytes": b"png", "path": None}],
    }
    assert said(row) == [
        ("system", ("Be brief.",)),
        ("user", (None, None, "What is it?")),
        ("assistant", ("A cat.",)),
    ]
    assert conversation_of(row, "row").pictures == ("1.jpg", b"png")
    row["messages"][1]["content"] = [  # type: ignore[index]
        {"type": "text", "text": "Left "}, {"type": "image"}, {"type": "text", "text": " right "},
        {"type": "image"},
    ]  # fmt: skip
    assert said(row)[1] == ("user", ("Left ", None, " right ", None))


def test_both_forms_say_the_same() -> None:
    a = llava(("human", "<image>\nWhat?"), ("gpt", "A cat"), image="1.jpg")
    b = {
        "messages": [
            {"role": "user", "content": "What?"},
            {"role": "assistant", "content": "A cat"},
        ],
        "images": ["1.jpg"],
    }
    assert conversation_of(a, "row") == conversation_of(b, "row")


def test_the_end_is_put_behind_every_answer() -> None:
    row = llava(("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d"))
    written = conversation_of(row, "row").messages("</s>")
    assert [m["content"][-1]["text"] for m in written] == ["a", "b</s>", "c", "d</s>"]


GOOD = (("human", "<image>\nWhat?"), ("gpt", "A cat"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("text", "is a str; expected an object"),
        ({"text": "a"}, "neither conversations .* nor messages .*its fields are text"),
        ({"conversations": []}, "expected a list of turns"),
        ({"conversations": "a"}, "expected a list of turns"),
        ({"conversations": [{"from": "human"}]}, 'expected {"from", "value"}'),
        (llava(("robot", "a"), ("gpt", "b")), "a turn of 'robot'"),
        (llava(("human", "a"), ("human", "b"), ("gpt", "c")), "user and assistant by turns"),
        (llava(("human", "a")), "user and assistant by turns"),
        (llava(("human", "a"), ("gpt", "b"), ("system", "c")), "a system's only before them"),
        (llava(*GOOD), "has 0 pictures, and its turns have 1 places"),
        (llava(*GOOD, image=["1.jpg", "2.jpg"]), "has 2 pictures, and its turns have 1 places"),
        (llava(("human", "a"), ("gpt", "b"), image="1.jpg"), "has 1 pictures, .* have 0 places"),
        (llava(("human", "a"), ("gpt", "<image>"), image="1.jpg"), "not the user's"),
        (llava(*GOOD, image="/etc/passwd"), "outside of its folder"),
        (llava(*GOOD, image="../1.jpg"), "outside of its folder"),
        (llava(*GOOD, image="a/../../1.jpg"), "outside of its folder"),
        (llava(*GOOD, image=r"..\1.jpg"), "outside of its folder"),
        (llava(*GOOD, image=7), "names no image"),
        ({"messages": [{"role": "user", "content": 5}]}, "expected a text, or a list of parts"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "has the part"),
        ({"messages": ["a"]}, 'expected {"role", "content"}'),
    ],
)
def test_what_does_not_fit_is_told(row: Any, says: str) -> None:
    with pytest.raises(StimulusError, match=says) as caught:
        conversation_of(row, "Row 5 of data.json")
    assert str(caught.value).startswith("Row 5 of data.json")
