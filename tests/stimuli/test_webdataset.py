"""Tar shards as img2dataset writes them, and as nobody should."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from wheresight.errors import StimulusError
from wheresight.stimuli.sources import open_source, webdataset


@pytest.fixture
def shards(tmp_path: Path, write_tar, samples) -> Path:
    """Three shards of ten samples."""
    for shard in range(3):
        members = samples(range(shard * 10, shard * 10 + 10))
        write_tar(tmp_path / "laion" / f"{shard:05d}.tar", members)
    return tmp_path / "laion"


def test_shards_are_read(shards: Path) -> None:
    source = open_source(f"webdataset:{shards}/{{00000..00002}}.tar")
    pairs = source.pairs()
    assert [pair.id for pair in pairs] == [f"{i:09d}" for i in range(30)]
    assert pairs[12].caption == "colour 12"
    red, green, blue = source.image("000000012").getpixel((0, 0))
    assert abs(red - 12 * 37 % 256) + abs(green - 12 * 91 % 256) + abs(blue - 12 * 53 % 256) < 12


def test_all_ways_to_name_shards(shards: Path) -> None:
    wanted = open_source(f"webdataset:{shards}").pairs()
    for spec in (
        str(shards),
        f"webdataset:{shards}/*.tar",
        f"{shards}/*.tar",
        f"{shards}/{{00000..00002}}.tar",
        f"{shards}/{{00000,00001,00002}}.tar",
    ):
        assert open_source(spec).pairs() == wanted
    assert len(open_source(f"{shards}/00001.tar").pairs()) == 10


def test_a_sample_does_not_depend_on_the_shards(
    shards: Path, tmp_path: Path, write_tar, samples
) -> None:
    ten = open_source(str(shards), sample=10, seed=5)
    members = samples(range(30))
    groups = [members[i : i + 3] for i in range(0, len(members), 3)]
    members = [member for group in reversed(groups) for member in group]
    one = open_source(str(write_tar(tmp_path / "one" / "all.tar", members)), sample=10, seed=5)
    assert one.pairs() == ten.pairs()
    assert one.fingerprint == ten.fingerprint
    assert open_source(str(shards), sample=10, seed=6).pairs() != ten.pairs()
    assert open_source(str(shards), sample=4, seed=5).pairs() == ten.pairs()[:4]


def test_captions_from_json(shards: Path) -> None:
    assert open_source(str(shards), caption_column="alt").pairs()[3].caption == "other 3"
    with pytest.raises(StimulusError, match="Unknown caption column 'atl'.*'alt'"):
        open_source(str(shards), caption_column="atl")


def test_captions_without_txt(tmp_path: Path, write_tar, samples) -> None:
    members = [member for member in samples(range(5)) if not member[0].endswith(".txt")]
    assert open_source(str(write_tar(tmp_path / "a.tar", members))).pairs()[3].caption == "colour 3"


def test_samples_without_an_image_are_left_out(tmp_path: Path, write_tar, samples) -> None:
    members = [*samples(range(5)), ("stats.json", b"{}"), ("000000009.txt", b"no picture")]
    assert len(open_source(str(write_tar(tmp_path / "a.tar", members))).pairs()) == 5


def test_folders_and_upper_case_in_names(tmp_path: Path, write_tar, png) -> None:
    members = [("x/a.JPG", png(1, format="JPEG")), ("x/a.txt", b"one"), ("y/a.PNG", png(2))]
    members.append(("y/a.txt", b"two"))
    pairs = open_source(str(write_tar(tmp_path / "a.tar", members))).pairs()
    assert [(pair.id, pair.caption) for pair in pairs] == [("x/a", "one"), ("y/a", "two")]


def test_the_image_member_may_be_chosen(tmp_path: Path, write_tar, png) -> None:
    members = [("a.depth.png", png(2, (8, 8))), ("a.jpg", png(1, format="JPEG")), ("a.txt", b"one")]
    path = str(write_tar(tmp_path / "a.tar", members))
    assert open_source(path).image("a").size == (24, 16)
    assert open_source(path, image_column="depth.png").image("a").size == (8, 8)


def test_nothing_is_unpacked(shards: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    source = open_source(str(shards), sample=3)
    source.image(source.pairs()[0].id)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sample_reads_only_its_own_members(shards: Path, monkeypatch) -> None:
    read = []
    real = webdataset._bytes
    monkeypatch.setattr(webdataset, "_bytes", lambda place: read.append(place) or real(place))
    open_source(str(shards), sample=2)
    assert len(read) == 4  # a .txt and a .json each


@pytest.mark.parametrize("name", ["../000.jpg", "/etc/000.jpg", "a/../../000.jpg"])
def test_names_that_point_outside(tmp_path: Path, write_tar, samples, name: str) -> None:
    path = write_tar(tmp_path / "a.tar", [*samples(range(2)), (name, b"x")])
    with pytest.raises(StimulusError, match="points outside"):
        open_source(str(path))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_members_that_are_no_files(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("0.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(StimulusError, match="'0.jpg' that is a link"):
        open_source(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_truncated_shards(shards: Path, part: float) -> None:
    path = shards / "00001.tar"
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(StimulusError, match=r"00001.tar' (cannot be read|is damaged)"):
        open_source(str(shards))


def test_a_damaged_header_is_not_taken_for_the_end(shards: Path) -> None:
    path = shards / "00001.tar"
    with tarfile.open(path) as tar:
        at = tar.getmembers()[9].offset
    data = bytearray(path.read_bytes())
    data[at : at + 512] = b"\xff" * 512
    path.write_bytes(data)
    with pytest.raises(StimulusError, match=r"00001.tar' (is damaged|cannot be read)"):
        open_source(str(shards))


def test_a_shard_cut_between_two_members(shards: Path) -> None:
    path = shards / "00001.tar"
    with tarfile.open(path) as tar:
        at = tar.getmembers()[9].offset
    path.write_bytes(path.read_bytes()[:at])
    with pytest.raises(StimulusError, match=r"00001.tar' is damaged or truncated: at byte"):
        open_source(str(shards))


def test_a_header_that_claims_to_be_huge(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.XHDTYPE, 2**32
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(StimulusError, match="claims to be 4,294,967,296 bytes"):
        open_source(str(tmp_path / "a.tar"))


def test_long_names_are_read(tmp_path: Path, write_tar, png) -> None:
    name = "x" * 180
    path = write_tar(tmp_path / "a.tar", [(f"{name}.png", png(1)), (f"{name}.txt", b"one")])
    assert open_source(str(path)).pairs()[0].id == name


def test_what_is_no_plain_tar(tmp_path: Path, shards: Path) -> None:
    import gzip

    for data in (b"", b"no tar" * 500, gzip.compress((shards / "00000.tar").read_bytes())):
        path = tmp_path / "bad.tar"
        path.write_bytes(data)
        with pytest.raises(StimulusError, match="bad.tar"):
            open_source(str(path))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.txt", b"no picture")], "no image members"),
        ([("a.jpg", b"x")], "caption of 'a' is missing"),
        ([("a.jpg", b"x"), ("a.txt", b"")], "caption of 'a' is empty"),
        ([("a.jpg", b"x"), ("a.txt", b"\xff\xfe")], "not text in UTF-8"),
        ([("a.jpg", b"x"), ("a.txt", b"x" * (2**20 + 1))], "1,048,577 bytes"),
        ([("a.jpg", b"x"), ("a.json", b"{")], "not a JSON object"),
        ([("a.jpg", b"x"), ("a.json", b"[]")], "not a JSON object"),
        ([("a.jpg", b"x"), ("a.json", b"[" * 200_000)], "not a JSON object"),
        ([("a.jpg", b"x"), ("a.json", b'{"caption": 3}')], "of type int"),
        ([("a.jpg", b"x"), ("a.txt", b"a"), ("b.jpg", b"x"), ("b.txt", b"b"),
          ("a.jpg", b"x"), ("a.txt", b"a")], "two pairs with the id 'a'"),
        ([("a.jpg", b""), ("a.txt", b"a")], "'a' is empty"),
        ([("a.jpg", b"\xff\xd8\xff"), ("a.txt", b"a")], "image of 'a'"),
    ],
)  # fmt: skip
def test_bad_members(tmp_path: Path, write_tar, members, words: str) -> None:
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(StimulusError, match=words):
        open_source(str(path)).image("a")


def test_bad_pairs_are_skipped_if_asked(tmp_path: Path, write_tar, samples) -> None:
    members = samples(range(30))
    members[3 * 4] = ("000000004.jpg", members[3 * 4][1][:40])
    members[3 * 7 + 1] = ("000000007.txt", b" ")
    path = str(write_tar(tmp_path / "a.tar", members))
    with pytest.raises(StimulusError, match="caption of '000000007' is empty"):
        open_source(path)
    source = open_source(path, skip_bad=True)
    assert len(source.pairs()) == 28
    assert len(source.skipped) == 2
    assert "The image of '000000004' cannot be decoded: Truncated" in source.skipped[0]
    wanted = [pair.id for pair in source.pairs()]
    sampled = open_source(path, skip_bad=True, sample=28)
    assert sorted(pair.id for pair in sampled.pairs()) == wanted
    again = open_source(sampled.name)
    assert (again.pairs(), again.name) == (sampled.pairs(), sampled.name)
    with pytest.raises(StimulusError, match="only 28 pairs that can be used.*2 were skipped"):
        open_source(path, skip_bad=True, sample=29)


def test_skipping_keeps_the_order_of_the_sample(tmp_path: Path, write_tar, samples) -> None:
    members = samples(range(30))
    whole = open_source(str(write_tar(tmp_path / "a.tar", members)), sample=6).pairs()
    at = 3 * int(whole[2].id)
    members[at] = (members[at][0], b"no picture")
    path = str(write_tar(tmp_path / "b.tar", members))
    found = open_source(path, sample=5, skip_bad=True).pairs()
    assert [pair.id for pair in found] == [pair.id for i, pair in enumerate(whole) if i != 2]


def test_an_image_member_too_large_is_not_read(tmp_path: Path) -> None:
    size = 65 * 2**20
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("a.txt", b"one"), ("a.jpg", None)):
            info = tarfile.TarInfo(name)
            info.size = size if data is None else len(data)
            with (tmp_path / "zeros").open("wb+") as zeros:
                zeros.truncate(size)
                tar.addfile(info, zeros if data is None else io.BytesIO(data))
    with pytest.raises(StimulusError, match="at most 67,108,864"):
        open_source(str(tmp_path / "a.tar")).image("a")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("pipe:cat /etc/passwd", "not local"),
        ("https://host/{00000..00009}.tar", "not local"),
        ("/nowhere/*.tar", "no tar shard"),
        ("/nowhere/{00000..00009}.tar", "10 of the 10 shards"),
        ("/nowhere/{0..9999999999}.tar", "more than 100,000"),
        ("/nowhere/{0..999}/{0..999}.tar", "more than 100,000"),
    ],
)
def test_patterns_that_name_no_shard(pattern: str, words: str) -> None:
    with pytest.raises(StimulusError, match=words):
        open_source(f"webdataset:{pattern}")


def test_a_shard_missing_in_the_middle(shards: Path) -> None:
    (shards / "00001.tar").unlink()
    with pytest.raises(StimulusError, match=r"1 of the 3 shards.*00001.tar"):
        open_source(f"{shards}/{{00000..00002}}.tar")


def test_the_same_keys_as_webdataset_reads(shards: Path) -> None:
    wds = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    theirs = {
        sample["__key__"]: (sample["txt"].decode(), json.loads(sample["json"])["caption"])
        for sample in wds.WebDataset(urls, shardshuffle=False)
    }
    ours = {pair.id: (pair.caption, pair.caption) for pair in open_source(str(shards)).pairs()}
    assert ours == theirs
