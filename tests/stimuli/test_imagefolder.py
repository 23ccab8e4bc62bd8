"""Folders of images with metadata, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wheresight.errors import StimulusError
from wheresight.stimuli.sources import open_source


def write(folder: Path, *rows: object) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def test_a_folder_is_read(folder: Path) -> None:
    source = open_source(f"folder:{folder}")
    pairs = source.pairs()
    assert [pair.id for pair in pairs] == [f"images/{i}.png" for i in range(12)]
    assert pairs[3].caption == "colour 3"
    assert pairs[3].group == "colour 3"
    picture = source.image("images/3.png")
    assert picture.size == (24, 16)
    assert picture.getpixel((0, 0)) == (111, 17, 159)


def test_the_usual_image_column_is_taken_for_the_file_name(folder: Path) -> None:
    assert len(open_source(str(folder), image_column="image").pairs()) == 12


def test_id_group_and_siblings_are_read(folder: Path) -> None:
    row = {"file_name": "images/1.png", "text": "One", "id": 1, "group": "g", "siblings": ["2"]}
    write(folder, row, row | {"id": 2, "siblings": None, "group": None})
    one, two = open_source(str(folder)).pairs()
    assert (one.id, one.caption, one.group, one.siblings) == ("1", "One", "g", ("2",))
    assert (two.group, two.siblings) == ("one", ())
    before = open_source(str(folder)).fingerprint
    write(folder, row | {"siblings": []}, row | {"id": 2, "siblings": None, "group": None})
    assert open_source(str(folder)).fingerprint != before


def test_csv(folder: Path) -> None:
    (folder / "metadata.jsonl").unlink()
    text = 'file_name,caption,siblings\nimages/1.png,"a, b","[""x""]"\nimages/2.png,c,\n'
    (folder / "metadata.csv").write_text("\ufeff" + text)
    one, two = open_source(str(folder)).pairs()
    assert (one.caption, one.siblings, two.caption) == ("a, b", ("x",), "c")


def test_the_fingerprint_follows_pixels_and_captions_alone(folder: Path) -> None:
    before = open_source(str(folder)).fingerprint
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    write(folder, *reversed(lines))
    moved = folder.rename(folder.parent / "moved")
    assert open_source(str(moved)).fingerprint == before
    (moved / "images" / "3.png").write_bytes((moved / "images" / "4.png").read_bytes())
    changed = open_source(str(moved)).fingerprint
    assert changed != before
    write(moved, *lines[:-1], {"file_name": "images/11.png", "caption": "other"})
    assert open_source(str(moved)).fingerprint not in (before, changed)


def test_the_fingerprint_of_many_reads_only_some(folder: Path, monkeypatch) -> None:
    from wheresight.stimuli.sources import lazy

    monkeypatch.setattr(lazy, "HASHED_IMAGES", 4)
    reads = []
    read = lazy.LazySource.__init__

    def counting(self, name, pairs, read_one, *rest) -> None:
        read(self, name, pairs, lambda i: reads.append(i) or read_one(i), *rest)

    monkeypatch.setattr(lazy.LazySource, "__init__", counting)
    assert len(open_source(str(folder)).fingerprint) == 32
    assert len(reads) == 4


def test_a_folder_without_metadata(folder: Path) -> None:
    (folder / "metadata.jsonl").unlink()
    with pytest.raises(StimulusError, match=r"no metadata\. Expected a metadata\.jsonl"):
        open_source(str(folder))


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "images/../../a.png", "..\\a.png", "C:\\a.png", "a\0b"]
)
def test_names_that_leave_the_folder(folder: Path, name: str) -> None:
    write(folder, {"file_name": name, "caption": "a"})
    with pytest.raises(StimulusError, match="outside its folder"):
        open_source(str(folder))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no rows"),
        (["{"], "line 1"),
        ([{"file_name": "a", "caption": "b"}, "[1]"], "line 2.*not an object"),
        ([{"caption": "b"}], "Unknown image column 'file_name'"),
        ([{"file_name": "a", "words": "b"}], "none of the usual names.*file_name, words"),
        ([{"file_name": None, "caption": "b"}], "names no file"),
        ([{"file_name": "a", "caption": ""}], "caption of 'a' is empty"),
        ([{"file_name": "a", "caption": ["b"]}], "type list"),
        ([{"file_name": "a", "caption": "b" * 2000}], "2,000 characters"),
        ([{"file_name": "a", "caption": "b", "siblings": "c"}], "siblings of 'a'"),
        ([{"file_name": "a", "caption": "b"}] * 2, "two pairs with the id 'a'"),
        ([{"file_name": "a", "caption": "b", "id": "\ud800"}], "printable"),
        ([{"file_name": "a", "caption": "b", "id": "x" * 501}], "printable"),
        (['{"file_name":' * 100_000], "line 1"),
    ],
)
def test_bad_metadata(folder: Path, rows: list[object], words: str) -> None:
    write(folder, *rows)
    with pytest.raises(StimulusError, match=words):
        open_source(str(folder))


def test_metadata_in_another_encoding(folder: Path) -> None:
    line = '{"file_name": "a", "caption": "café"}\n'
    (folder / "metadata.jsonl").write_bytes(line.encode("latin-1"))
    with pytest.raises(StimulusError, match="UTF-8"):
        open_source(str(folder))


def test_unknown_columns_list_the_known(folder: Path) -> None:
    with pytest.raises(StimulusError, match=r"'captoin'. Did you mean 'caption'.*file_name"):
        open_source(str(folder), caption_column="captoin")
    with pytest.raises(StimulusError, match="Unknown image column 'picture'"):
        open_source(str(folder), image_column="picture")


def test_bad_images_are_named_when_asked_for(folder: Path) -> None:
    source = open_source(str(folder))
    (folder / "images" / "3.png").write_bytes(b"")
    (folder / "images" / "4.png").unlink()
    with pytest.raises(StimulusError, match=r"'images/3.png' is empty"):
        source.image("images/3.png")
    with pytest.raises(StimulusError, match=r"'images/4.png' cannot be read"):
        source.image("images/4.png")
