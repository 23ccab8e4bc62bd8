"""Parquet files, and datasets of the datasets library, saved and loaded for real."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wheresight.errors import StimulusError
from wheresight.stimuli.sources import open_source


@pytest.fixture
def rows(png) -> list[dict[str, object]]:
    """Rows with the schema of the pocket's Parquet file."""
    return [
        {
            "id": f"noto-{i}",
            "group": f"g{i}",
            "caption": f"colour {i}",
            "style": "noto",
            "image": {"bytes": png(i), "path": None},
            "siblings": [f"noto-{i ^ 1}"],
            "category": "c",
            "subcategory": "s",
            "licence": "l",
            "attribution": "a",
        }
        for i in range(30)
    ]


@pytest.fixture
def table(tmp_path: Path, rows: list[dict[str, object]]) -> Path:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_parquet(table: Path, png) -> None:
    source = open_source(str(table))
    assert source.name == f"parquet:{table}"
    pair = source.pairs()[20]
    assert (pair.id, pair.caption, pair.group) == ("noto-20", "colour 20", "g20")
    assert pair.siblings == ("noto-21",)
    for i in (29, 0, 13, 29):
        assert source.image(f"noto-{i}").getpixel((0, 0)) == tuple(
            value * i % 256 for value in (37, 91, 53)
        )


def test_a_sample_does_not_depend_on_the_shards(
    tmp_path: Path, table: Path, rows: list[dict[str, object]]
) -> None:
    one = open_source(str(table), sample=10, seed=3)
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, start in enumerate((20, 0, 10)):
        pq.write_table(pa.Table.from_pylist(rows[start : start + 10]), parts / f"{number}.parquet")
    for spec in (parts, f"parquet:{parts}/*.parquet", f"parquet:{parts}"):
        many = open_source(str(spec), sample=10, seed=3)
        assert many.pairs() == one.pairs()
        assert many.fingerprint == one.fingerprint
        assert many.image(many.pairs()[0].id) == one.image(one.pairs()[0].id)


def test_plain_bytes_without_ids(tmp_path: Path, png) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"jpg": [png(1), png(2)], "TEXT": ["a", "b"]}), path)
    source = open_source(str(path), image_column="jpg")
    assert [pair.id for pair in source.pairs()] == ["x:0", "x:1"]
    assert source.image("x:1").size == (24, 16)


@pytest.mark.parametrize("column", ["place", "file", "number", "id", "group"])
def test_captions_may_stand_in_any_column(tmp_path: Path, png, column: str) -> None:
    pq.write_table(pa.table({"image": [png(1)], column: ["one"]}), tmp_path / "x.parquet")
    for spec in (f"{tmp_path}/x.parquet", f"dataset:{tmp_path}"):
        (pair,) = open_source(spec, caption_column=column).pairs()
        assert pair.caption == "one"


def test_images_that_are_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    images = [{"bytes": None, "path": "/etc/passwd"}, {"bytes": None, "path": None}]
    pq.write_table(pa.table({"image": images, "caption": ["a", "b"]}), path)
    with pytest.raises(StimulusError, match="not stored in the column 'image'"):
        open_source(str(path)).image("x:0")


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"picture": [b"x"], "caption": ["a"]}, {}, "Unknown image column 'image'.*picture"),
        ({"image": [b"x"], "words": ["a"]}, {}, "none of the usual names.*image, words"),
        ({"image": [b"x"], "caption": ["a"]}, {"caption_column": "c"}, "caption column 'c'"),
        ({"image": [b"x"], "caption": [None]}, {}, "caption of 'x:0' is missing"),
        ({"image": [b"x"], "caption": [3]}, {}, "of type int"),
        ({"image": [b""], "caption": ["a"]}, {}, "'x:0' is empty"),
        ({"image": ["text"], "caption": ["a"]}, {}, "found str"),
        ({"image": [], "caption": []}, {}, "holds no pairs"),
    ],
)
def test_bad_tables(tmp_path: Path, columns, options, words: str) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(StimulusError, match=words):
        open_source(str(path), **options).image("x:0")


def test_files_that_are_not_parquet(tmp_path: Path, table: Path) -> None:
    for data in (b"", b"no parquet at all", table.read_bytes()[:-50]):
        path = tmp_path / "bad.parquet"
        path.write_bytes(data)
        with pytest.raises(StimulusError, match="cannot be read as Parquet"):
            open_source(str(path))


def test_pixels_damaged_inside_a_parquet_file(tmp_path: Path, rows) -> None:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(4).data_page_offset
    data[start : start + 300] = b"\xff" * 300
    path.write_bytes(data)
    with pytest.raises(StimulusError):
        open_source(str(path)).image("noto-3")


def test_files_with_other_columns(tmp_path: Path, table: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "z.parquet")
    with pytest.raises(StimulusError, match=r"z.parquet' has no column caption"):
        open_source(str(tmp_path))


def saved(rows: list[dict[str, object]], path: Path) -> Path:
    import datasets

    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    table.save_to_disk(str(path))
    return path


def test_a_saved_dataset(tmp_path: Path, table: Path, rows) -> None:
    path = saved(rows, tmp_path / "saved")
    for spec in (str(path), f"dataset:{path}"):
        source = open_source(spec)
        assert source.name == f"dataset:{path}"
        assert source.pairs() == open_source(str(table)).pairs()
        assert source.fingerprint == open_source(str(table)).fingerprint
        assert source.image("noto-7").getpixel((0, 0)) == (3, 125, 115)


def test_a_dataset_without_ids_numbers_its_rows(tmp_path: Path, rows) -> None:
    kept = [{"image": row["image"], "text": row["caption"]} for row in rows]
    source = open_source(str(saved(kept, tmp_path / "saved")), sample=4)
    assert {int(pair.id) for pair in source.pairs()} <= set(range(30))
    pair = source.pairs()[0]
    assert pair.caption == f"colour {pair.id}"


def test_splits(tmp_path: Path, rows) -> None:
    import datasets

    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    path = tmp_path / "splits"
    parts = {"train": table, "test": table.select(range(5))}
    datasets.DatasetDict(parts).save_to_disk(str(path))
    assert len(open_source(f"dataset:{path}@test").pairs()) == 5
    with pytest.raises(StimulusError, match="has the splits train, test"):
        open_source(str(path))
    with pytest.raises(StimulusError, match="Unknown split 'tset'. Did you mean 'test'"):
        open_source(f"dataset:{path}@tset")
    single = saved(rows, tmp_path / "single")
    with pytest.raises(StimulusError, match="has no splits"):
        open_source(f"dataset:{single}@train")


def test_a_folder_that_load_dataset_reads(tmp_path: Path, rows) -> None:
    import datasets

    place = tmp_path / "plain"
    place.mkdir()
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    table.to_parquet(str(place / "train.parquet"))
    source = open_source(f"dataset:{place}")
    assert len(source.pairs()) == 30
    assert source.image("noto-7").getpixel((0, 0)) == (3, 125, 115)


def test_an_imagefolder_through_the_datasets_library(folder: Path) -> None:
    source = open_source(f"dataset:{folder}")
    assert len(source.pairs()) == 12
    pair = source.pairs()[5]
    colour = source.image(pair.id).getpixel((0, 0))
    number = int(pair.caption.split()[1])
    assert colour == tuple(value * number % 256 for value in (37, 91, 53))


def test_a_dataset_that_is_not_there() -> None:
    with pytest.raises(StimulusError, match="'no-such-owner/no-such-set' could not be loaded"):
        open_source("dataset:no-such-owner/no-such-set")


def test_a_dataset_with_a_script_is_not_run(tmp_path: Path) -> None:
    place = tmp_path / "evil"
    place.mkdir()
    (place / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(StimulusError):
        open_source(f"dataset:{place}")
    assert not (tmp_path / "ran").exists()


def test_a_dataset_whose_image_column_is_no_image(tmp_path: Path, rows) -> None:
    source = open_source(str(saved(rows, tmp_path / "saved")), image_column="style")
    with pytest.raises(StimulusError, match="stored as str"):
        source.image("noto-1")
    with pytest.raises(StimulusError, match="Unknown image column 'photo'.*attribution"):
        open_source(str(tmp_path / "saved"), image_column="photo")
