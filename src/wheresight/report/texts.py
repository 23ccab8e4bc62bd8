"""Texts that come from data, made safe to show. Captions, specs and file names are untrusted."""

from __future__ import annotations

import re
import unicodedata

# Marks that reorder the text around them. The joiners that emoji need are not among them.
_REORDERING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_REPLACEMENT = "\ufffd"


def printable(text: str, limit: int | None = None) -> str:
    """Replace control characters, reordering marks and lone surrogates; cut to `limit` characters.

    Line feeds and tabs stay, so that commands keep their lines.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    text = _REORDERING.sub(_REPLACEMENT, text)
    if text.isprintable():
        return text
    return "".join(_REPLACEMENT if _hidden(c) else c for c in text)


def one_line(text: str, limit: int | None = None) -> str:
    """The same on a single line."""
    return printable(" ".join(text.split()), limit)


def slug(text: str, limit: int = 40) -> str:
    """Make a part of a file name: lower case ASCII letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())[:limit].strip("-.") or "x"


def _hidden(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")
