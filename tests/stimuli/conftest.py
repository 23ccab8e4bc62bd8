"""Small real pictures and sources, made when a test asks for them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from wheresight.stimuli.pairs import Pair

Encode = Callable[..., bytes]


def _colour(number: int) -> tuple[int, int, int]:
    return (number * 37 % 256, number * 91 % 256, number * 53 % 256)


@pytest.fixture(scope="session")
def png() -> Encode:
    """Encode a plain picture whose colour follows from a number."""

    def encode(number: int = 1, size: tuple[int, int] = (24, 16), format: str = "PNG") -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", size, _colour(number)).save(stream, format)
        return stream.getvalue()

    return encode


class Colours:
    """A source in memory: pair `p7` is a plain square of colour number 7."""

    name = "colours"
    fingerprint = "colours"

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0

    def pairs(self) -> list[Pair]:
        return [Pair(f"p{i}", f"colour {i}", f"g{i}") for i in range(self.count)]

    def image(self, pair_id: str) -> Image.Image:
        self.asked += 1
        return Image.new("RGB", (40, 40), _colour(int(pair_id[1:])))


@pytest.fixture
def colours() -> Colours:
    return Colours(80)


@pytest.fixture
def folder(tmp_path: Path, png: Encode) -> Path:
    """An imagefolder of twelve pictures with captions."""
    place = tmp_path / "folder"
    (place / "images").mkdir(parents=True)
    lines = []
    for i in range(12):
        (place / "images" / f"{i}.png").write_bytes(png(i))
        lines.append(json.dumps({"file_name": f"images/{i}.png", "caption": f"  colour\t{i} "}))
    (place / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return place


Members = Iterable[tuple[str, bytes]]


@pytest.fixture(scope="session")
def write_tar() -> Callable[[Path, Members], Path]:
    def write(path: Path, members: Members) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture(scope="session")
def samples(png: Encode) -> Callable[[Iterable[int]], list[tuple[str, bytes]]]:
    """Members of a shard in img2dataset's layout: 000000000.jpg, .txt, .json."""

    def make(numbers: Iterable[int]) -> list[tuple[str, bytes]]:
        members = []
        for i in numbers:
            fields = {"key": f"{i:09d}", "caption": f"colour {i}", "url": "x", "exif": "{}"}
            fields["alt"] = f"other {i}"
            members += [
                (f"{i:09d}.jpg", png(i, format="JPEG")),
                (f"{i:09d}.txt", f"colour {i}".encode()),
                (f"{i:09d}.json", json.dumps(fields).encode()),
            ]
        return members

    return make
