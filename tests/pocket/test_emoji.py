"""The Parquet file: schema, licences, unique names, and siblings that exist."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wheresight.pocket import emoji_file
from wheresight.pocket.emoji import read_rows
from wheresight.pocket.names import known_names

LICENCES = {"google": "Apache-2.0", "twitter": "CC-BY-4.0"}


def test_schema_is_the_contract():
    schema = pq.read_schema(emoji_file())
    assert schema.names == [
        "id", "group", "caption", "style", "image", "siblings", "category", "subcategory",
        "licence", "attribution",
    ]  # fmt: skip
    image = schema.field("image").type
    assert image.field("bytes").type == pa.binary()
    assert image.field("path").type == pa.string()
    assert schema.field("siblings").type.value_type == pa.string()


def test_licences_and_attribution_are_in_rows_and_metadata():
    metadata = pq.read_schema(emoji_file()).metadata
    assert json.loads(metadata[b"licence"]) == LICENCES
    attributions = json.loads(metadata[b"attribution"])
    for row in read_rows():
        assert row["licence"] == LICENCES[row["style"]]
        assert row["attribution"] == attributions[row["style"]]


def test_every_name_has_both_styles_at_64_px():
    rows = read_rows()
    styles: dict[str, set[str]] = {}
    for row in rows:
        styles.setdefault(row["caption"], set()).add(row["style"])
        assert row["id"] == f"{row['style']}/{row['group']}"
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            assert picture.size == (64, 64)
            assert picture.format == "PNG"
    assert len(styles) >= 240
    assert all(both == set(LICENCES) for both in styles.values())
    assert len({row["id"] for row in rows}) == len(rows)
    assert {len(name.split()) for name in styles} >= {1, 2, 3}


def test_siblings_are_other_pictures_of_the_same_style():
    rows = {row["id"]: row for row in read_rows()}
    for row in rows.values():
        assert 1 <= len(row["siblings"]) <= 5
        assert row["id"] not in row["siblings"]
        assert all(rows[other]["style"] == row["style"] for other in row["siblings"])


def test_the_file_holds_the_names_of_the_source():
    captions = {row["group"]: row["caption"] for row in read_rows()}
    assert captions == {known.code.lower(): known.name for known in known_names()}


def test_importing_the_package_does_not_import_torch():
    code = "import sys, wheresight.pocket; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
