"""The run folder: parts are whole or absent, runs never mix, damage is named and mended."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

from wheresight.errors import RunError
from wheresight.runs.records import RECORD_SCHEMA, record_table
from wheresight.runs.store import RunFolder, content_name


def rows(count: int, intervention: str = "none") -> pa.Table:
    return record_table(
        (
            {
                "item": f"item-{n}",
                "key": f"key-{n}",
                "cell": n % 9,
                "question": "positive",
                "intervention": intervention,
                "intervention_json": "[]",
                "caption": "a caption",
                "expected": True,
                "margin": n / 7,
                "argmax_id": n,
                "argmax_token": "Yes",
                "answer": "yes",
                "text": None,
                "recipe": "{}",
            }
            for n in range(count)
        ),
        "unit",
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.prepare({"model": "a", "seed": 0}, {"command": "probe"})
    return run


def test_what_is_written_is_read_back_in_order(folder: RunFolder) -> None:
    folder.write("b", rows(5, "bapa"))
    folder.write("a", rows(5))
    table = folder.read()
    assert table.schema.equals(RECORD_SCHEMA)
    assert table.num_rows == 10
    assert table["intervention"].to_pylist()[:2] == ["bapa", "none"]
    assert table.equals(folder.read())


def test_a_run_without_records_gives_way(folder: RunFolder) -> None:
    folder.prepare({"model": "b"}, {"command": "probe"})
    assert folder.manifest()["identity"] == {"model": "b"}


def test_the_same_run_goes_on_and_another_is_refused(folder: RunFolder) -> None:
    folder.write("a", rows(3))
    before = folder.read()
    folder.prepare({"model": "a", "seed": 0}, {"command": "probe again"})
    with pytest.raises(RunError, match=r"holds another run \(seed: 0 there, 1 now\).*--out"):
        folder.prepare({"model": "a", "seed": 1}, {"command": "probe"})
    assert folder.read().equals(before)
    assert folder.manifest()["request"] == {"command": "probe again"}


@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_part_is_named_and_set_aside(folder: RunFolder, harm: str) -> None:
    folder.write("good", rows(50))
    folder.write("bad", rows(400, "bapa"))
    (part,) = folder.parts.glob("bad-*.parquet")
    data = bytearray(part.read_bytes())
    if harm == "truncated":
        data = data[: len(data) // 2]
    elif harm == "flipped":
        data[len(data) // 4] ^= 0x10
    elif harm == "empty":
        data = bytearray()
    else:
        data = bytearray(b"not parquet at all")
    part.write_bytes(data)
    with pytest.raises(RunError, match=r"bad-\w+\.parquet.*cannot be read.*Repeat"):
        folder.read()
    assert folder.damaged() == [str(part)]
    assert not folder.has("bad")
    assert folder.has("good")
    assert folder.read().num_rows == 50


def test_flipped_bits_are_noticed_wherever_they_are(folder: RunFolder) -> None:
    folder.write("one", rows(20))
    (part,) = folder.parts.glob("one-*.parquet")
    data = part.read_bytes()
    for place in [*range(0, len(data), 97), len(data) - 1]:
        changed = bytearray(data)
        changed[place] ^= 0x40
        part.write_bytes(changed)
        with pytest.raises(RunError, match="not those that were written"):
            folder.read()


def test_an_output_that_is_a_file_or_is_not_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(RunError, match="is a file; expected a folder"):
        RunFolder(file).prepare({}, {})
    with pytest.raises(RunError, match="is a file; expected a folder"), RunFolder(file).lock():
        pass
    with pytest.raises(RunError, match="something on the way to it is a file"):
        RunFolder(file / "below").prepare({}, {})
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        RunFolder(other).prepare({}, {})
    assert (other / "thesis.tex").read_text() == "mine"
    assert file.read_text() == "mine"


def test_a_folder_without_a_run_or_with_a_damaged_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run.*run\.json"):
        RunFolder(tmp_path).read()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        RunFolder(tmp_path).manifest()
    (tmp_path / "run.json").write_text(
        json.dumps({"schema_version": 999, "identity": {}, "request": {}, "environment": None})
    )
    with pytest.raises(RunError, match="schema 999"):
        RunFolder(tmp_path).manifest()


def test_a_second_writer_is_refused(folder: RunFolder) -> None:
    script = textwrap.dedent(
        f"""
        from wheresight.errors import RunError
        from wheresight.runs.store import RunFolder
        try:
            with RunFolder({str(folder.path)!r}).lock():
                print("locked")
        except RunError as error:
            print(error)
        """
    )
    with folder.lock():
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "Another wheresight process is writing" in said.stdout
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.stdout.strip() == "locked"


def test_a_full_disk_loses_nothing(folder: RunFolder) -> None:
    # A file-size limit makes the system refuse the write half way, as a full disk does.
    folder.write("a", rows(10))
    before = folder.read()
    script = textwrap.dedent(
        f"""
        import resource, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_store import rows
        from wheresight.errors import RunError
        from wheresight.runs.store import RunFolder
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            RunFolder({str(folder.path)!r}).write("big", rows(100_000))
        except RunError as error:
            print(error)
        """
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "is full. Finished records are safe" in said.stdout, said.stderr
    assert not folder.has("big")
    (only,) = folder.parts.iterdir()
    assert only.name.startswith("a-")
    assert folder.read().equals(before)


def test_names_follow_content_alone() -> None:
    assert content_name({"a": 1, "b": [2, "ü"]}) == content_name({"b": [2, "ü"], "a": 1})
    assert content_name({"a": 1}) != content_name({"a": 2})
    assert len(content_name({})) == 16
