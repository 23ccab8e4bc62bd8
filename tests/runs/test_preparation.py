"""Pictures prepared in other processes: the same bytes, whatever happens to these processes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from jobs import Jobs
from PIL import Image
from spawned import kill, spawned

import wheresight
from wheresight import pocket
from wheresight.errors import RunError, StimulusError
from wheresight.interventions.spec import canonical
from wheresight.lvlm.preprocessing import Preprocessed
from wheresight.lvlm.scoring import Scorer
from wheresight.probes.grid import GridProbe
from wheresight.runs import preparation
from wheresight.runs.engine import Shard, Unit, execute, plan
from wheresight.runs.preparation import Ahead, InProcess, automatic
from wheresight.runs.progress import Silent
from wheresight.runs.request import GridRequest, open_grid
from wheresight.runs.store import RunFolder

TINY = Path(__file__).with_name("tiny_run.py")
ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1"}
REQUEST = GridRequest(out="", items=30, grid="2x2")


@pytest.fixture(scope="module")
def bare_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pocket model's folder without its weights."""
    folder = tmp_path_factory.mktemp("model") / "bare"
    shutil.copytree(pocket.model_folder(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(wheresight.load("pocket"))


@pytest.fixture
def ahead() -> Iterator[tuple[GridProbe, Ahead]]:
    probe = open_grid(REQUEST, Silent())[1]
    made = Ahead(REQUEST, probe, 2)
    yield probe, made
    made.close()
    assert not Path(made._folder).exists()


def taken(way: Ahead | InProcess, probe: GridProbe, at_once: int = 16) -> list[Preprocessed]:
    shards = list(probe.shards())
    way.begin(shards, at_once)
    return [way.take(*job) for job in jobs(probe, at_once)]


def jobs(probe: GridProbe, at_once: int) -> list[tuple[int, int, int]]:
    return [
        (n, start, min(start + at_once, probe.composite_count(shard)))
        for n, shard in enumerate(probe.shards())
        for start in range(0, probe.composite_count(shard), at_once)
    ]


def assert_same(a: list[Preprocessed], b: list[Preprocessed]) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert (one.rows, one.counts, one.sizes) == (other.rows, other.counts, other.sizes)
        assert one.images.keys() == other.images.keys()
        for key in one.images:
            assert one.images[key].dtype == other.images[key].dtype
            assert torch.equal(one.images[key], other.images[key])


def test_the_same_bytes_without_any_weights(bare_model: str) -> None:
    request = GridRequest(out="", items=30, grid="2x2", model=bare_model, dtype="bfloat16")
    probe = open_grid(request, Silent())[1]
    made = Ahead(request, probe, 1)
    try:
        found = taken(made, probe)
        # Smaller batches from somewhere in the middle, as after memory ran out.
        made.begin(list(probe.shards()), 16)
        made.take(0, 0, 16)
        smaller = [made.take(0, start, start + 4) for start in (16, 20, 24)]
    finally:
        made.close()
    assert {one.images["pixel_values"].dtype for one in found} == {torch.bfloat16}
    lvlm = wheresight.load("pocket", dtype="bfloat16")
    inline = InProcess(probe, Scorer(lvlm).encoder)
    assert_same(found, taken(inline, probe))
    assert_same(smaller, [inline.take(0, start, start + 4) for start in (16, 20, 24)])


def test_killed_again_and_again_nothing_is_lost(
    ahead: tuple[GridProbe, Ahead], scorer: Scorer
) -> None:
    probe, made = ahead
    draws = random.Random(3)
    found, killed, due = [], set(), [1, 30]
    made.begin(list(probe.shards()), 4)
    for n, job in enumerate(jobs(probe, 4)):
        # What was done ahead hides that they are dead; who is due is killed when they are back.
        if due and n >= due[0] and (n == 1 or spawned()):
            del due[0]
            time.sleep(draws.uniform(0, 0.5))
            victims = helpers(os.getpid())[: draws.randint(1, 2)]
            kill(victims)
            killed |= {process.pid for process in victims}
        found.append(made.take(*job))
    assert not due and len(killed) >= 2
    assert_same(found, taken(InProcess(probe, scorer.encoder), probe, 4))


def test_it_gives_up_when_nothing_is_ever_finished(
    ahead: tuple[GridProbe, Ahead], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, made = ahead
    monkeypatch.setattr(preparation, "_RESTARTS", 2)
    stop = threading.Event()

    def keep_killing() -> None:
        while not stop.wait(0.05):
            kill(helpers(os.getpid()))

    killer = threading.Thread(target=keep_killing)
    killer.start()
    try:
        with pytest.raises(RunError, match="died 3 times .* --picture-workers 0"):
            taken(made, probe)
    finally:
        stop.set()
        killer.join()


def test_a_picture_that_cannot_be_used_is_the_same_error(tmp_path: Path, scorer: Scorer) -> None:
    lines = []
    for n in range(12):
        Image.new("RGB", (32, 32), (n * 20, 90, 160)).save(tmp_path / f"{n}.png")
        lines.append(f'{{"file_name": "{n}.png", "caption": "shade number {n}"}}')
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    bad = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(bad[: len(bad) // 2])
    request = GridRequest(out="", items=12, grid="1x2", source=f"folder:{tmp_path}")
    probe = open_grid(request, Silent())[1]
    with pytest.raises(StimulusError) as inline:
        taken(InProcess(probe, scorer.encoder), probe)
    made = Ahead(request, probe, 1)
    try:
        with pytest.raises(StimulusError) as elsewhere:
            taken(made, probe)
    finally:
        made.close()
    assert str(elsewhere.value) == str(inline.value)


def test_processes_that_see_another_run_refuse(tmp_path: Path) -> None:
    probe = open_grid(REQUEST, Silent())[1]
    made = Ahead(GridRequest(out="", items=30, grid="2x2", seed=9), probe, 1)
    try:
        with pytest.raises(RunError, match="differs in .*seed"):
            taken(made, probe)
    finally:
        made.close()


def test_vision_methods_see_the_pixels_that_were_prepared(tmp_path: Path, scorer: Scorer) -> None:
    """Records of methods that change the tower do not hang on where pictures are prepared."""
    request = GridRequest(out="", items=10, grid="1x2", protocol="paper")
    probe = open_grid(request, Silent())[1]
    specs = [canonical(spec) for spec in ("none", "multilayer:layers=6")]
    tables = []
    for way in (InProcess(probe, scorer.encoder), Ahead(request, probe, 1)):
        folder = RunFolder(tmp_path / type(way).__name__)
        folder.prepare(probe.settings.model_dump(mode="json"), {"command": "test"})
        try:
            done = list(execute(probe, plan(probe, specs).shards, folder, scorer, way))
        finally:
            way.close()
        assert [type(one) for one in done] == [Shard] and type(done[0].todo[0]) is Unit
        tables.append(folder.read())
    assert tables[0].equals(tables[1])
    margins = tables[0]["margin"].to_pylist()
    assert len(set(margins)) > len(margins) // 2  # the two interventions differ


@pytest.mark.parametrize(
    ("cores", "accelerator", "expected"),
    [(1, True, 0), (2, True, 1), (4, True, 3), (64, True, 4), (2, False, 0), (8, False, 1)],
)
def test_how_many_by_default(cores: int, accelerator: bool, expected: int) -> None:
    assert automatic(cores, accelerator) == expected


# ---- whole runs, as programs ----------------------------------------------------------------


def helpers(parent: int) -> list[psutil.Process]:
    """The processes that prepare pictures for another; waits until there are some."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if found := spawned(parent):
            return found
        time.sleep(0.01)
    raise AssertionError("no process came up")


def start(out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TINY), str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON,
    )


def parts(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("records/*.parquet"))


def test_a_run_whose_picture_workers_are_killed_equals_an_undisturbed_one(
    jobs: Jobs, tmp_path: Path
) -> None:
    jobs.run(tmp_path / "quiet", "items=60")
    run = start(tmp_path / "run", "items=60", "picture_workers=2")
    killed: set[int] = set()
    draws = random.Random(11)
    for count in (0, 1, 5):  # of 12 parts; while they start, then in the middle of their work
        deadline = time.monotonic() + 200
        while len(parts(tmp_path / "run")) < count:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(draws.uniform(0, 0.3))
        victims = [process for process in helpers(run.pid) if process.pid not in killed]
        victims = victims[: draws.randint(1, 2)]
        kill(victims)
        killed |= {victim.pid for victim in victims}
    said, wrong = run.communicate(timeout=300)
    assert run.returncode == 0, said + wrong
    assert len(killed) >= 3
    # Names hold the hash of each part's bytes: none is lost, none doubled, none differs.
    assert parts(tmp_path / "run") == parts(tmp_path / "quiet")
    assert len(parts(tmp_path / "run")) == 12
    records = RunFolder(tmp_path / "run").read()
    assert records.equals(RunFolder(tmp_path / "quiet").read())
    keys = records.select(["item", "cell", "question", "intervention"]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == records.num_rows == 60 * 2 * 2


def test_a_script_without_a_guard_and_a_run_that_is_killed(tmp_path: Path) -> None:
    """Workers do not run the caller's script again, and end with it, with what they kept."""
    script = tmp_path / "script.py"
    script.write_text(
        "from wheresight.runs.grid_run import GridRequest, run_grid\n"
        "print('ONCE', flush=True)\n"
        f"run_grid(GridRequest(out={str(tmp_path / 'run')!r}, items=400, grid='1x2',\n"
        "    replicates=100, picture_workers=1))\n"
    )
    kept = tmp_path / "kept"
    kept.mkdir()
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRON, "TMPDIR": str(kept)},
    )
    deadline = time.monotonic() + 200
    while not parts(tmp_path / "run"):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (helper,) = helpers(run.pid)
    assert list(kept.iterdir())
    run.kill()
    said, _ = run.communicate()
    assert said.count("ONCE") == 1
    helper.wait(timeout=30)
    assert list(kept.iterdir()) == []


def test_auto_batch_size_is_found_once_and_written_down(jobs: Jobs, tmp_path: Path) -> None:
    """A run that goes on uses the size that was found, and says which."""
    said = jobs.run(tmp_path / "run", "items=20", "batch_size='auto'")
    assert "Trying batch sizes" in said
    hardware = RunFolder(tmp_path / "run").manifest()["environment"]["hardware"]
    size = hardware["batch_size"]
    assert hardware["batch_size_given_as"] == "auto" and f"Batch size {size}\n" in said
    said = jobs.run(tmp_path / "run", "items=40", "batch_size='auto'")
    assert "Trying batch sizes" not in said and "computed=80" in said
    assert RunFolder(tmp_path / "run").manifest()["environment"]["hardware"] == hardware
    jobs.run(tmp_path / "fixed", "items=40", f"batch_size={size}")
    assert parts(tmp_path / "fixed") == parts(tmp_path / "run")  # hashes of their bytes
