"""Clean captions nobody vouches for: any value in, one line of text or one clear error out."""

from __future__ import annotations

import unicodedata

from wheresight.errors import StimulusError

MAX_CHARACTERS = 1000


def clean(value: object, name: str) -> str:
    """Return a caption as one line: white space is trimmed and collapsed, all else is kept.

    Args:
        value: the caption as the source gave it.
        name: what to call it in errors: the id of its pair.

    Raises:
        StimulusError: if the caption is not text, is empty, holds control characters or half
            characters (lone surrogates), or is longer than MAX_CHARACTERS.
    """
    if not isinstance(value, str):
        given = "missing" if value is None else f"of type {type(value).__name__}"
        raise StimulusError(
            f"The caption of {name!r} is {given}. Expected text: name another column with "
            "--caption-column, or fill it in."
        )
    text = " ".join(value.split())
    if not text:
        raise StimulusError(
            f"The caption of {name!r} is empty. Expected text: fill it in, or leave the pair out."
        )
    if len(text) > MAX_CHARACTERS:
        raise StimulusError(
            f"The caption of {name!r} has {len(text):,} characters, and at most "
            f"{MAX_CHARACTERS:,} are read. Shorten it to what names the picture."
        )
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise StimulusError(
                f"The caption of {name!r} holds the control character U+{ord(character):04X}. "
                "Expected plain text: take it out."
            )
    return text
