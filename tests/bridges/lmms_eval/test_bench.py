"""`wheresight bench` with the real lmms-eval: numbers, page, going on, errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_data import caption, scene, write_all
from typer.testing import CliRunner

from wheresight.bridges.lmms_eval.bench import local_data, tasks
from wheresight.bridges.lmms_eval.bench.results import Bench
from wheresight.bridges.lmms_eval.bench.task_files import Dataset, dataset_of
from wheresight.cli.main import app
from wheresight.errors import RunError

ENVIRONMENT = {**os.environ, "COLUMNS": "150", "OMP_NUM_THREADS": "1"}


def arguments(out: Path, local: Path, *more: str) -> list[str]:
    return ["--model", "pocket", "--tasks", "pope,wheresight_mme", "--data", str(local), "--out",
            str(out), "--device", "cpu", "--replicates", "200", *more]  # fmt: skip


def bench(*given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wheresight", "bench", *given]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


Ran = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ran(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("bench") / "out"
    return out, bench(*arguments(out, local, "-i", "none", "-i", "bapa"))


def test_it_ends_with_tables_and_a_page(ran: Ran) -> None:
    out, done = ran
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MME, as in Table 3" in done.stdout and "POPE: pope accuracy" in done.stdout
    for progress in ("pope under none (1 of 4)", "wheresight_mme under bapa (4 of 4)"):
        assert progress in done.stdout
    assert "8/8 questions" in done.stdout and "16/16 questions" in done.stdout
    assert f"Report: {out}/bench.html" in done.stdout
    found = Bench.model_validate_json((out / "bench.json").read_bytes())
    assert found.interventions == ["none", "bapa"]
    assert [task.name for task in found.tasks] == ["pope", "wheresight_mme"]
    # Two questions about each picture, so there are half as many clusters.
    assert [(t.documents, t.pictures) for t in found.tasks] == [(8, 4), (16, 8)]


def test_mme_adds_up_to_200_a_category(ran: Ran) -> None:
    found = Bench.model_validate_json((ran[0] / "bench.json").read_bytes())
    task = found.task("wheresight_mme")
    assert task is not None and task.metrics[0].name == "mme_perception_score"
    for n in range(2):
        parts = [m.entries[n].official for m in task.metrics[1:]]
        assert len(parts) == 4 and all(0 <= part <= 200 for part in parts)
        assert sum(parts) == pytest.approx(task.metrics[0].entries[n].official)
    page = (ran[0] / "bench.html").read_text()
    for heading in ("existence", "count", "position", "color", "total"):
        assert f'<th scope="col">{heading}<br>' in page


def test_numbers_are_those_of_lmms_evals_files(ran: Ran) -> None:
    """bench.json against lmms-eval's own results, and against its samples counted by hand."""
    out, _ = ran
    found = json.loads((out / "bench.json").read_text())
    accuracy = found["tasks"][0]["metrics"][0]
    for entry in accuracy["entries"]:
        (folder,) = (out / "lmms-eval").glob(f"pope-{entry['intervention']}-*")
        (results,) = folder.rglob("*_results.json")
        (samples,) = folder.rglob("*_samples_pope.jsonl")
        official = json.loads(results.read_text())["results"]["pope"]["pope_accuracy,none"]
        rows = [json.loads(line) for line in samples.read_text().splitlines()]
        counted = sum(r["filtered_resps"].lower().strip() == r["target"] for r in rows) / len(rows)
        assert entry["official"] == entry["estimate"]["value"] == official == counted
    values = [e["official"] for e in accuracy["entries"]]
    assert accuracy["entries"][1]["minus_first"]["value"] == pytest.approx(values[1] - values[0])


def test_the_page_is_whole_and_escaped(ran: Ran) -> None:
    page = (ran[0] / "bench.html").read_text()
    assert "http://" not in page and "https://" not in page and "src=" not in page
    assert page.count("<table") == 4 and "{{" not in page


def test_a_finished_task_is_not_run_again_and_a_new_one_is_added(ran: Ran, local: Path) -> None:
    out, _ = ran
    answers = sorted(p for p in (out / "lmms-eval").rglob("*") if "samples" in p.name)
    before = {p: p.stat().st_mtime_ns for p in answers}
    again = bench(*arguments(out, local, "-i", "none", "-i", "bapa"))
    assert again.returncode == 0, again.stderr
    assert "Starting lmms-eval" not in again.stdout
    assert {p: p.stat().st_mtime_ns for p in answers} == before
    # One that was cut off is not whole: it is run again, and it alone.
    cut = next(p for p in answers if "pope-bapa" in str(p))
    lines = cut.read_text().splitlines(keepends=True)
    cut.write_text("".join(lines[:-1]))
    mended = bench(*arguments(out, local, "-i", "none", "-i", "bapa"))
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "pope under bapa (1 of 1)" in mended.stdout
    assert json.loads((out / "bench.json").read_text())["tasks"][0]["documents"] == 8


def test_a_users_own_command_line(local: Path, tmp_path: Path) -> None:
    """lmms-eval itself, from a folder that holds the data under the hub's name."""
    dataset = dataset_of(tasks.config_of("pope"))
    local_data.stage({"pope": local / "pope"}, {"pope": dataset}, tmp_path / "data")
    command = [sys.executable, "-m", "lmms_eval", "eval", "--model", "wheresight",
               "--model_args", "pretrained=pocket,intervention=bapa,device=cpu", "--tasks", "pope",
               "--batch_size", "4", "--limit", "4", "--output_path", str(tmp_path / "out"),
               "--log_samples"]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path / "data",
        env={**ENVIRONMENT, "LMMS_EVAL_DATASETS_CACHE": str(tmp_path / "cache")},
    )
    assert re.search(r"\|pope +\|none +\| +0\|pope_accuracy", done.stdout), done.stderr[-2000:]
    assert list((tmp_path / "out").rglob("*_samples_pope.jsonl"))


def refused(*given: str) -> str:
    """What the command says of a fault; in this process, for it is said before lmms-eval starts."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each test matches the message
        CliRunner().invoke(app, ["bench", *given], catch_exceptions=False)
    return str(caught.value)


def test_errors_are_said_before_anything_is_run(local: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--data", str(local)]
    assert "Did you mean 'pope'" in refused("--tasks", "popp", *out)
    assert "Unknown intervention 'bappa'" in refused("--tasks", "pope", "-i", "bappa", *out)
    assert "GPT judge" in refused("--tasks", "hallusion_bench_image", *out)
    assert "even number" in refused("--tasks", "wheresight_mme", "--limit", "3", *out)
    assert "no folder" in refused("--tasks", "pope", "--data", str(tmp_path / "none"))
    assert "comma" in refused("--tasks", "pope", "--out", str(tmp_path / "a,b"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    assert "not empty" in refused(
        "--tasks", "pope", "--data", str(local), "--out", str(tmp_path / "full")
    )
    assert not (tmp_path / "out" / "bench.json").exists()


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "empty")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    said = refused("--tasks", "pope", "--out", str(tmp_path / "out"))
    assert said.startswith("The hub cannot be reached") and "lmms-lab-encoder/POPE" in said
    assert "add --data DIR" in said


def test_a_failure_inside_lmms_eval_is_said_and_the_rest_is_kept(
    local: Path, tmp_path: Path
) -> None:
    """A task whose data has the wrong columns: its error is the command's, the other is done."""
    import shutil

    broken = tmp_path / "data"
    shutil.copytree(local / "pope", broken / "pope")
    (broken / "crpe_relation").mkdir(parents=True)
    (broken / "crpe_relation" / "rows.jsonl").write_text('{"text": "a", "correct_option": "A"}\n')
    out = tmp_path / "out"
    done = bench("--tasks", "pope,crpe_relation", "--data", str(broken), "--out", str(out),
                 "--device", "cpu", "--limit", "2")  # fmt: skip
    assert done.returncode == 2
    assert "did not finish crpe_relation under none" in done.stderr
    assert "Traceback" not in done.stderr and "image" in done.stderr
    assert list((out / "lmms-eval").glob("pope-none-*/**/*_samples_pope.jsonl"))


class TestLocalData:
    """Folders in place of the hub."""

    def test_tables_of_text_with_pictures_beside_them(self, tmp_path: Path) -> None:
        from datasets import load_dataset

        folder = tmp_path / "given" / "pope"
        folder.mkdir(parents=True)
        scene(3).save(folder / "a.png")
        row = {"question_id": "1", "question": caption(3), "answer": "yes", "image": "a.png"}
        (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
        dataset = Dataset("owner/name", None, "test")
        local_data.stage({"pope": folder}, {"pope": dataset}, tmp_path / "staged")
        place = str(tmp_path / "staged" / "owner" / "name")
        found: Any = load_dataset(place, split="test", cache_dir=str(tmp_path / "cache"))
        assert found[0]["image"].convert("RGB").tobytes() == scene(3).tobytes()
        (folder / "rows.jsonl").write_text(json.dumps({**row, "image": "b.png"}) + "\n")
        with pytest.raises(RunError, match=r"b\.png'?, which is not there"):
            local_data.stage({"pope": folder}, {"pope": dataset}, tmp_path / "staged")

    def test_a_copy_of_the_hubs_repository_is_taken_as_it_is(self, tmp_path: Path) -> None:
        from datasets import load_dataset

        write_all(tmp_path / "made")
        copy = tmp_path / "given" / "owner" / "name"
        copy.mkdir(parents=True)
        (copy / "README.md").write_text(
            "---\nconfigs:\n- config_name: A\n  data_files:\n  - split: test\n    path: x/*\n---\n"
        )
        (tmp_path / "made" / "pope").rename(copy / "x")
        dataset = Dataset("owner/name", "A", "test")
        assert local_data.folder_of(tmp_path / "given", "t", dataset) == copy
        local_data.stage({"t": copy}, {"t": dataset}, tmp_path / "staged")
        place = str(tmp_path / "staged" / "owner" / "name")
        found: Any = load_dataset(place, "A", split="test", cache_dir=str(tmp_path / "cache"))
        assert len(found) == 8

    def test_a_folder_without_data_says_what_is_expected(self, tmp_path: Path) -> None:
        (tmp_path / "pope").mkdir()
        dataset = Dataset("owner/name", "A", "test")
        with pytest.raises(RunError, match=r"has no data for the task 'pope'.*'A' below it"):
            local_data.stage({"pope": tmp_path / "pope"}, {"pope": dataset}, tmp_path / "staged")
