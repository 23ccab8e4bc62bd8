"""Any text survives the tokenizer; answers are single pieces; names are the same everywhere."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.pocket import model_folder
from wheresight.pocket.language import PAPER
from wheresight.pocket.tokenizer import ASSISTANT, EOS


def shipped():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder())


SHIPPED = shipped()
SPECIAL = set(SHIPPED.all_special_tokens)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text("🍎👩‍🚀é\n\t 'Yes:USER", max_size=30)))
def test_any_text_round_trips(text):
    ids = SHIPPED(text, add_special_tokens=False)["input_ids"]
    assert SHIPPED.decode(ids, clean_up_tokenization_spaces=False) == text


def test_any_bytes_as_latin_1_round_trip():
    text = bytes(range(256)).decode("latin-1")
    assert SHIPPED.decode(SHIPPED(text)["input_ids"]) == text


def test_answers_are_single_pieces_after_the_prompt():
    for word in ("Yes", "No"):
        alone = SHIPPED(word)["input_ids"]
        assert len(alone) == 1
        assert SHIPPED(f"is pizza\n{ASSISTANT}{word}{EOS}")["input_ids"][-2:] == [
            alone[0],
            SHIPPED.eos_token_id,
        ]


def test_training_again_gives_the_shipped_tokenizer(tokenizer):
    assert tokenizer.get_vocab() == SHIPPED.get_vocab()


def test_a_name_is_the_same_pieces_in_every_question(tokenizer, things):
    for name in things.names:
        pieces = tokenizer(f" {name}")["input_ids"]
        for text in (f"is {name}", f"Is there {name}?", PAPER.format(caption=name)):
            ids = tokenizer(text)["input_ids"]
            assert any(ids[i : i + len(pieces)] == pieces for i in range(len(ids))), text


def test_the_papers_question_is_short(tokenizer):
    assert len(tokenizer(PAPER.format(caption="red apple"))["input_ids"]) <= 12
