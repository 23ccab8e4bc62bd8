"""Which tokens say yes and no, the margin, and reading generated text."""

from __future__ import annotations

import math

import pytest
import torch

from wheresight.errors import ModelError
from wheresight.lvlm.answers import AnswerTokens, answer_tokens, read_answer


class Vocabulary:
    """A tokenizer's vocabulary and nothing more."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}


def test_spellings_are_whole_words_with_any_case_and_leading_space() -> None:
    found = answer_tokens(
        Vocabulary(
            "Y", "Yes", "▁yes", "ĠYES", "yesterday", "No", "Ġno", "None", "nothing", "▁NO", "es"
        )
    )
    assert found == AnswerTokens(yes=(1, 2, 3), no=(5, 6, 9))
    assert [found.name(i) for i in (1, 6, 4)] == ["yes", "no", "neither"]


@pytest.mark.parametrize("tokens", [("Yes", "Y"), ("No",), ()])
def test_a_vocabulary_without_them_is_refused(tokens: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"no single token that spells '(Yes|No)'.*--generate"):
        answer_tokens(Vocabulary(*tokens))


def test_margin_by_hand() -> None:
    # Two spellings of Yes at logits 1 and 2, one of No at 0.5:
    # log(e^1 + e^2) - 0.5 = 2.3132616875 - 0.5
    logits = torch.tensor([[1.0, 2.0, 0.5, 9.0], [0.0, 0.0, 0.0, 0.0]])
    margin = AnswerTokens(yes=(0, 1), no=(2,)).margin(logits)
    assert margin.dtype == torch.float64
    assert margin.tolist() == pytest.approx([1.8132616875182228, math.log(2)], abs=1e-12)


def test_margin_in_bfloat16_is_summed_in_double() -> None:
    logits = torch.tensor([[10.0, 10.0, 10.0]], dtype=torch.bfloat16)
    assert AnswerTokens((0, 1), (2,)).margin(logits).item() == pytest.approx(math.log(2), abs=1e-12)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", "yes"),
        (" yes.", "yes"),
        ("YES, there is", "yes"),
        ("**No**", "no"),
        ("'No'", "no"),
        ("no", "no"),
        ("Nothing matches", "neither"),
        ("Yesterday", "neither"),
        ("I think yes", "neither"),
        ("", "neither"),
        ("1. Yes", "neither"),
        ("\n\nNo\n", "no"),
    ],
)
def test_generated_text_is_read_by_its_first_word(text: str, answer: str) -> None:
    assert read_answer(text) == answer
