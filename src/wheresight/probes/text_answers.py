"""What a free text says about options: several ways of reading it, each under its own name.

Published scores depend on the reader: a method that makes a model answer in sentences which name
two options gains by a lenient one and loses by a strict one. So all run on the same raw text.

An option is named where its words stand as whole words, upper or lower case. Longer options are
found first and hide what is inside of them: `top left` names neither `top` nor `left`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wheresight.stimuli.benchmarks.question import LETTERS

_LETTER = re.compile(
    r"^\W*(?:(?:the\s+)?(?:option|answer)\W+(?:is\W+)?)?([a-z])(?:\W|$)", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(?:a|an|the)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """One text, read in several ways; each field is the number of an option, or None.

    Attributes:
        exact: the text is the option and nothing else, but for case, an article in front, and
            punctuation around it.
        strict: the only option that the text names.
        first: the option that is named first.
        last: the option that is named last.
        letter: the option whose letter the text begins with, such as `B` or `(b) left`.
    """

    exact: int | None
    strict: int | None
    first: int | None
    last: int | None
    letter: int | None


def read(text: str, options: Sequence[str]) -> TextAnswer:
    """Read a text in all ways."""
    named = mentions(text, options)
    return TextAnswer(
        exact=exact(text, options),
        strict=named[0] if len(set(named)) == 1 else None,
        first=named[0] if named else None,
        last=named[-1] if named else None,
        letter=letter(text, len(options)),
    )


def mentions(text: str, options: Sequence[str]) -> list[int]:
    """Numbers of the options that a text names, in its order, repeats included.

    >>> mentions("The mug is on the left, under the chair.", ["left", "right", "on", "under"])
    [2, 0, 3]
    """
    longest = sorted(range(len(options)), key=lambda n: -len(options[n]))
    words = [r"\s+".join(re.escape(word) for word in options[n].split()) for n in longest]
    # Not \b: an option may begin or end with a sign, as C++ does.
    pattern = "|".join(rf"(?P<o{n}>{word})" for n, word in zip(longest, words, strict=True))
    found = re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE)
    return [int(match.lastgroup[1:]) for match in found if match.lastgroup is not None]


def exact(text: str, options: Sequence[str]) -> int | None:
    """The option that a text is, but for case, an article in front, and punctuation around it."""
    said = _plain(text)
    return next((n for n, option in enumerate(options) if _plain(option) == said), None)


def letter(text: str, count: int) -> int | None:
    """The option whose letter a text begins with; None if it begins with a word, or another letter.

    >>> letter("(B) left", 4), letter("Answer: c", 4), letter("A mug is there", 4), letter("E", 4)
    (1, 2, None, None)
    """
    found = _LETTER.match(text)
    if found is None:
        return None
    # `A mug is ...` and `I see ...` begin with a word, not with the letter of an option.
    if found[1] in "AaI" and re.match(r"\s+\w", text[found.end(1) :]):
        return None
    number = LETTERS.index(found[1].upper())
    return number if number < count else None


def substring_published(text: str, right: str) -> bool:
    """Whether the right word occurs anywhere in a text, as AdaptVis's code scores WhatsUp.

    Case is ignored; `on` does not count where `front` occurs. Parts of words count (`on` in
    `spoon`), and so does a text that names every option.
    """
    said, word = text.lower(), right.lower()
    return word in said and not (word == "on" and "front" in said)


def yes_no_published(text: str, right: str) -> bool:
    """Whether `Yes` (or `No`) occurs in a text, case counting, as AdaptVis's code scores VSR.

    `Not` and `None` count as No, `yes` does not count as Yes.
    """
    return right.title() in text


def _plain(text: str) -> str:
    words = " ".join(text.split()).strip(" .,:;!?\"'`*()").casefold()
    return _ARTICLE.sub("", words)
