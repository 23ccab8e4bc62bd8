"""Captions are one line of text, or refused in one clear sentence."""

from __future__ import annotations

import pytest

from wheresight.errors import StimulusError
from wheresight.stimuli.captions import MAX_CHARACTERS, clean


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("a cat", "a cat"),
        ("  a\tcat \r\n on a\u00a0mat ", "a cat on a mat"),
        ("Straße, 猫, 👩‍🚀", "Straße, 猫, 👩‍🚀"),
        ("x" * MAX_CHARACTERS, "x" * MAX_CHARACTERS),
    ],
)
def test_clean_captions(given: str, wanted: str) -> None:
    assert clean(given, "a") == wanted


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (None, "missing"),
        (b"bytes", "bytes"),
        (["a", "b"], "list"),
        (7, "int"),
        (float("nan"), "float"),
        ("", "empty"),
        (" \n\t ", "empty"),
        ("x" * (MAX_CHARACTERS + 1), "1,001"),
        ("a\x00b", "U\\+0000"),
        ("a\x1b[31m", "U\\+001B"),
        ("a\ud800", "U\\+D800"),
    ],
)
def test_bad_captions(given: object, word: str) -> None:
    with pytest.raises(StimulusError, match=f"'dogs/7'.*{word}"):
        clean(given, "dogs/7")
