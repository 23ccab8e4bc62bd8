"""Files of conversations: three kinds, one reading; draws that hang on the seed alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.training.data import Corpus


def row(number: int, image: Any = None) -> dict[str, Any]:
    asked = "<image>\n" if image is not None else ""
    return {
        "id": str(number),
        "image": image,
        "conversations": [
            {"from": "human", "value": f"{asked}How many?"},
            {"from": "gpt", "value": f"{number}"},
        ],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 3), "red").save(tmp_path / "images" / "deep" / "a.png")
    return tmp_path


ROWS = [row(n, "deep/a.png" if n % 3 else None) for n in range(7)]


def write(path: Path) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist([{**r, "unused": "x"} for r in ROWS]), path)
    return path


def test_three_kinds_of_file_hold_the_same(folder: Path) -> None:
    found = []
    for kind in ("json", "jsonl", "parquet"):
        corpus = Corpus(write(folder / f"data.{kind}"), folder / "images")
        assert len(corpus) == 7
        found.append([(corpus[n].turns, corpus[n].pictures) for n in range(7)])
        [picture] = corpus.pictures(corpus[1])
        assert picture.size == (4, 3) and picture.getpixel((0, 0)) == (255, 0, 0)
        assert corpus.pictures(corpus[0]) == []
    assert found[0] == found[1] == found[2]


def test_pictures_may_lie_in_the_file(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (5, 2), "blue").save(stream, "PNG")
    talk = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "Blue"}]
    held = {"messages": talk, "images": [{"bytes": stream.getvalue(), "path": "b.png"}]}
    pq.write_table(pa.Table.from_pylist([held]), tmp_path / "data.parquet")
    corpus = Corpus(tmp_path / "data.parquet")
    assert corpus.pictures(corpus[0])[0].size == (5, 2)


def test_links_inside_the_folder_are_the_users_own(folder: Path, tmp_path: Path) -> None:
    """LLaVA's folder of images is commonly made of links to each data set."""
    (folder / "images" / "linked").symlink_to(folder / "images" / "deep")
    (folder / "data.json").write_text(json.dumps([row(0, "linked/a.png")]))
    corpus = Corpus(folder / "data.json", folder / "images")
    assert corpus.pictures(corpus[0])[0].size == (4, 3)


def test_draws_hang_on_the_seed(folder: Path) -> None:
    corpus = Corpus(write(folder / "data.json"), folder / "images")
    assert sorted(corpus.draw(None, 3)) == list(range(7))
    assert corpus.draw(4, 3) == corpus.draw(2, 3) == corpus.draw(None, 3)
    assert corpus.draw(None, 4) != corpus.draw(None, 3)
    with pytest.raises(StimulusError, match="8 samples were asked for, and .* has 7 rows"):
        corpus.draw(8, 0)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data.json", b"{", "cannot be read.*Expected one JSON list"),
        ("data.json", b"{}", "it holds a dict"),
        ("data.json", b"[]", "has no rows"),
        ("data.jsonl", b'{"id": 1}\n{', "line 2"),
        ("data.parquet", b"PAR1", "a whole Parquet file"),
        ("data.txt", b"", "is of another kind"),
        ("data.json", b"\xff", "in UTF-8"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StimulusError, match=says):
        Corpus(tmp_path / name)


def test_bad_pictures_are_told_by_row(folder: Path) -> None:
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    (folder / "data.json").write_text(json.dumps([row(0, "bad.png"), row(1, "gone.png")]))
    corpus = Corpus(folder / "data.json", folder / "images")
    with pytest.raises(StimulusError, match=r"Row 0 of data.json \(id '0'\).* cannot be decoded"):
        corpus.pictures(corpus[0])
    with pytest.raises(StimulusError, match=r"Row 1 of data.json .*cannot be read"):
        corpus.pictures(corpus[1])
