"""Which tokens say Yes and which say No."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError

if TYPE_CHECKING:
    import torch

# Marks that byte-level and SentencePiece vocabularies put for a leading space or newline.
_LEADING = " ▁ĠĊ\n\t"


@dataclass(frozen=True)
class AnswerTokens:
    """Ids of every vocabulary entry that is one whole spelling of Yes, and of No.

    Spellings differ in case and in a leading space (`Yes`, ` yes`, `YES`, ...). An entry that only
    begins such a word (`Y`) is not one of them.
    """

    yes: tuple[int, ...]
    no: tuple[int, ...]

    def margin(self, logits: torch.Tensor) -> torch.Tensor:
        """logsumexp of the Yes spellings minus logsumexp of the No spellings.

        Args:
            logits: (B, V), any float type; the arithmetic is float64.

        Returns:
            (B,) float64, in nats: log P(yes) - log P(no) of the first answer token.
        """
        scores = logits.double()
        yes = scores[:, list(self.yes)].logsumexp(-1)
        return yes - scores[:, list(self.no)].logsumexp(-1)

    def name(self, token: int) -> str:
        """`yes`, `no` or `neither`: what a first answer token says."""
        return "yes" if token in self.yes else "no" if token in self.no else "neither"


def answer_tokens(tokenizer: Any) -> AnswerTokens:
    """Find the Yes and No spellings in a tokenizer's vocabulary.

    Raises:
        ModelError: if it has no single token for one of the two.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    found = {word: _spellings(vocabulary, word) for word in ("yes", "no")}
    for word, ids in found.items():
        if not ids:
            raise ModelError(
                f"The tokenizer {type(tokenizer).__name__} has no single token that spells "
                f"{word.title()!r}, so a first-token score cannot be formed. Use generated text "
                "instead (--generate)."
            )
    return AnswerTokens(yes=found["yes"], no=found["no"])


def choice_tokens(tokenizer: Any, choices: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Ids of every vocabulary entry that is one whole spelling of each choice.

    Raises:
        ModelError: if a choice has no single token, or two choices share one.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    found = {choice: _spellings(vocabulary, choice.strip().lower()) for choice in choices}
    for choice, ids in found.items():
        if not ids:
            raise ModelError(
                f"The tokenizer {type(tokenizer).__name__} has no single token that spells "
                f"{choice!r}, so its probability cannot be read from the first answer token. Use "
                "choices of one word, such as letters."
            )
    every = [i for ids in found.values() for i in ids]
    if len(set(every)) < len(every):
        raise ModelError(f"Two of the choices {sorted(found)} are spelt alike but for their case.")
    return found


def _spellings(vocabulary: dict[str, int], word: str) -> tuple[int, ...]:
    return tuple(sorted(i for token, i in vocabulary.items() if _bare(token) == word))


def _bare(token: str) -> str:
    return token.lstrip(_LEADING).lower()


def read_answer(text: str) -> str:
    """`yes`, `no` or `neither`: what generated text says, by its first word, any case.

    The released scripts of the BaPA paper ask whether the text starts with Yes or No; so do we, but
    only whole words count (`Nothing` is not No).
    """
    first = next(iter(_words(text)), "")
    return first if first in ("yes", "no") else "neither"


def _words(text: str) -> Iterable[str]:
    word = ""
    for letter in text.strip().lower() + " ":
        if letter.isalpha():
            word += letter
        elif word:
            yield word
            word = ""
        elif not letter.isspace() and letter not in "\"'*(`":
            return  # an answer that starts with something else is neither
