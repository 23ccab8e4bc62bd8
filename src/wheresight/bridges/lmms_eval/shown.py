"""Which pictures each document showed, by their content: lmms-eval's samples do not say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from wheresight.bridges.lmms_eval.prompts import Prompt


class Shown:
    """A file with one line of JSON a document: its number, and a hash of each of its pictures.

    Intervals are clustered by it: questions about one picture are no independent evidence.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def note(self, asked: Iterable[tuple[int, Prompt]]) -> None:
        """Add lines for some documents."""
        lines = [
            json.dumps({"document": int(number), "pictures": [_hash(p) for p in prompt.images]})
            for number, prompt in asked
        ]
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)


def _hash(picture: Image.Image) -> str:
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()[:16]
