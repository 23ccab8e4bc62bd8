"""Runs in a store: a real object-store server on this machine, fsspec's memory, a local folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from jobs import Jobs

from wheresight.errors import RunError
from wheresight.runs.places import open_place
from wheresight.runs.places.store import Store
from wheresight.runs.records import record_table
from wheresight.runs.store import RunFolder

IDENTITY = {"model": "a", "seed": 0}


def rows(count: int, unit: str) -> pa.Table:
    return record_table(
        (
            {
                "item": f"{unit}-{n}", "key": f"key-{n}", "cell": n % 9, "question": "positive",
                "intervention": "none", "intervention_json": "[]", "caption": "a caption",
                "expected": True, "margin": n / 7, "argmax_id": n, "argmax_token": "Yes",
                "answer": "yes", "text": None, "recipe": "{}",
            }
            for n in range(count)
        ),
        unit,
    )  # fmt: skip


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """An object-store server that answers on loopback, and the environment that leads there."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (it is among the dev extras)")
    server = pytest.importorskip("moto.server", reason="moto is not installed (dev extras)")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    environ = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        yield environ
    running.stop()


@pytest.fixture(params=["local", "file", "memory", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
        return f"s3://bucket/{uuid.uuid4()}/run"
    if request.param == "memory":
        return f"memory://{uuid.uuid4()}/run"
    return (tmp_path / "run").as_uri() if request.param == "file" else str(tmp_path / "run")


@pytest.fixture
def folder(where: str) -> RunFolder:
    run = RunFolder(where)
    with run.lock():
        run.prepare(IDENTITY, {"command": "probe"})
    return run


def test_files_are_written_read_moved_and_listed(where: str) -> None:
    place = open_place(where)
    assert place.names() == [] and place.names("records") == []
    with pytest.raises(FileNotFoundError):
        place.read("run.json")
    place.write("run.json", b"{}")
    place.write("records/b", b"2")
    place.write("records/a", b"1")
    place.write("records/a", b"one")
    assert place.names() == ["records", "run.json"]
    assert place.names("records") == ["a", "b"]
    assert place.read("records/a") == b"one"
    assert list(place.read_all(["records/b", "records/x", "records/a"])) == [
        ("records/b", b"2"),
        ("records/x", None),
        ("records/a", b"one"),
    ]
    assert list(place.read_all(["records/x"])) == [("records/x", None)]
    place.move("records/a", "records/c")
    place.move("records/a", "records/d")
    assert place.names("records") == ["b", "c"]
    with place.folder() as made:
        (made / "figures").mkdir(exist_ok=True)
        (made / "figures" / "a.png").write_bytes(b"png")
        (made / "report.html").write_bytes(b"html")
    assert place.read("figures/a.png") == b"png"
    assert place.uri("report.html").endswith("/run/report.html")


def test_records_go_round(folder: RunFolder, where: str) -> None:
    folder.write("b", rows(5, "b"))
    folder.write("a", rows(3, "a"))
    again = RunFolder(where)
    assert again.units() == {"a", "b"} and again.has("a") and not again.has("c")
    assert again.read().num_rows == 8
    assert again.manifest()["identity"] == IDENTITY
    assert again.manifest()["environment"] is None
    again.note_environment({"date": "today"})
    assert folder.manifest()["environment"] == {"date": "today"}


@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty"])
def test_damage_is_found_and_set_aside(folder: RunFolder, harm: str) -> None:
    folder.write("good", rows(5, "good"))
    folder.write("bad", rows(50, "bad"))
    (part,) = [n for n in folder.place.names("records") if n.startswith("bad-")]
    data = bytearray(folder.place.read(f"records/{part}"))
    if harm == "flipped":
        data[len(data) // 3] ^= 4
    else:
        data = data[: len(data) // 2] if harm == "truncated" else bytearray()
    folder.place.write(f"records/{part}", bytes(data))
    with pytest.raises(RunError, match=r"bad-\w+\.parquet.*cannot be read.*Repeat"):
        folder.read()
    assert folder.damaged(lambda unit: unit != "bad") == []
    assert folder.damaged() == [folder.place.label(f"records/{part}")]
    assert folder.units() == {"good"}
    assert folder.read().num_rows == 5


def test_a_unit_that_two_writers_made_counts_once(folder: RunFolder) -> None:
    folder.write("a", rows(3, "a"))
    other = rows(3, "a").set_column(8, "margin", pa.array([1e-9, 2e-9, 3e-9]))
    folder.write("a", other)
    assert len(folder.place.names("records")) == 2
    assert folder.read().num_rows == 3


def test_a_run_whose_place_is_taken_stops_at_its_next_part(folder: RunFolder, where: str) -> None:
    late = RunFolder(where)
    late.prepare({**IDENTITY, "seed": 1}, {"command": "probe"})  # as if both began at once
    with pytest.raises(RunError, match="now holds another run"):
        folder.write("a", rows(3, "a"))
    late.write("b", rows(3, "b"))
    assert late.read().num_rows == 3
    with pytest.raises(RunError, match=r"holds another run \(seed: 1 there, 0 now\)"):
        folder.prepare(IDENTITY, {"command": "probe"})


def test_a_part_of_another_run_is_never_counted(folder: RunFolder, where: str) -> None:
    folder.write("a", rows(3, "a"))
    (part,) = folder.place.names("records")
    data = folder.place.read(f"records/{part}")
    other = RunFolder(where.removesuffix("run") + "other")
    other.prepare({"model": "b"}, {"command": "probe"})
    other.write("b", rows(3, "b"))
    other.place.write(f"records/{part}", data)
    with pytest.raises(RunError, match=rf"{part}'? is of another run"):
        other.read()


def test_what_is_not_ours_is_left_alone(where: str) -> None:
    place = open_place(where)
    place.write("thesis.tex", b"mine")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        RunFolder(where).prepare(IDENTITY, {})
    assert place.read("thesis.tex") == b"mine"


def test_a_store_that_cannot_be_reached_is_one_sentence(s3: dict[str, str]) -> None:
    with pytest.raises(RunError, match="'s3://nobodys/run' cannot be"):
        RunFolder("s3://nobodys/run").prepare(IDENTITY, {})


def test_a_store_of_files_gets_a_temporary_name_and_a_rename(tmp_path: Path) -> None:
    place = Store(f"memory://{uuid.uuid4()}/run")
    seen: list[tuple[str, str]] = []
    move = place._files.mv

    def mv(old: str, new: str) -> None:
        seen.append((old, new))
        move(old, new)

    place._renames = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place._files, "mv", mv, raising=False)
        place.write("records/a", b"1")
    ((old, new),) = seen
    assert old.endswith(".tmp") and new.endswith("/records/a")
    assert place.names("records") == ["a"] and place.read("records/a") == b"1"


def test_a_put_that_does_not_read_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Store(f"memory://{uuid.uuid4()}/run")
    monkeypatch.setattr(type(place._files), "cat_file", lambda *a, **k: b"less")
    with pytest.raises(RunError, match="does not read back as it was written"):
        place.write("records/a", b"all of it")


def test_a_whole_run_in_an_object_store(s3: dict[str, str], jobs: Jobs, tmp_path: Path) -> None:
    url = f"s3://bucket/{uuid.uuid4()}"
    for out, items in ((url, 20), (url, 40), (str(tmp_path / "run"), 40)):
        jobs.run(out, f"items={items}", **s3)
    stored = RunFolder(url)
    assert stored.read().equals(RunFolder(tmp_path / "run").read())
    assert stored.place.names("records") == RunFolder(tmp_path / "run").place.names("records")
    assert stored.place.read("report.html").rstrip().endswith(b"</html>")
    assert stored.place.read("results.json").startswith(b"{")
