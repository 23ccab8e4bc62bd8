"""Pocket scenes as training data: right answers, in LLaVA's form, from the seed alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheresight.errors import RunError
from wheresight.pocket.conversations import write_conversations
from wheresight.pocket.emoji import Things, load_things
from wheresight.training.data import Corpus


@pytest.fixture(scope="module")
def emoji() -> Things:
    return load_things()


def test_a_longer_file_begins_like_a_shorter_one(tmp_path: Path, emoji: Things) -> None:
    a = write_conversations(tmp_path / "a", 3, seed=5, things=emoji)
    b = write_conversations(tmp_path / "b", 5, seed=5, things=emoji)
    other = write_conversations(tmp_path / "c", 3, seed=6, things=emoji)
    rows = [json.loads(path.read_text()) for path in (a, b, other)]
    assert rows[0] == rows[1][:3] != rows[2]
    for name in ("000000.png", "000002.png"):
        pixels = [np.asarray(Image.open(tmp_path / f / "images" / name)) for f in "abc"]
        assert np.array_equal(pixels[0], pixels[1])
        assert not np.array_equal(pixels[0], pixels[2])


def test_rows_are_read_as_training_reads_them(tmp_path: Path, emoji: Things) -> None:
    done = []
    path = write_conversations(tmp_path / "d", 40, turns=3, things=emoji, advance=done.append)
    assert done == [1] * 40
    corpus = Corpus(path, tmp_path / "d" / "images")
    names = {f"the {name}" for name in emoji.names}
    answers: set[str] = set()
    for n in range(len(corpus)):
        one = corpus[n]
        [picture] = corpus.pictures(one)
        assert picture.size == (96, 96)
        asked = [turn.text for turn in one.turns if turn.role == "user"]
        assert 1 <= len(asked) == len(set(asked)) <= 3
        answers |= {turn.text for turn in one.turns if turn.role == "assistant"}
    assert {"Yes", "No"} < answers
    assert answers & names


def test_what_is_there_is_not_overwritten(tmp_path: Path, emoji: Things) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RunError, match="is not an empty folder"):
        write_conversations(tmp_path, 1, things=emoji)
    with pytest.raises(RunError, match="--samples was given as 0"):
        write_conversations(tmp_path / "new", 0, things=emoji)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
