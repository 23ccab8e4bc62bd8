"""Records in lmms-eval's sample form."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from wheresight.errors import RunError
from wheresight.runs.export import export
from wheresight.runs.records import record_table
from wheresight.runs.store import RunFolder

IDENTITY = {
    "model": "llava-hf/some model",
    "protocol": "balanced",
    "question": "Is there {caption}?",
}


def record(question: str, intervention: str, answer: str, text: str | None) -> dict[str, Any]:
    return {
        "item": "i@0.0",
        "key": "i",
        "cell": 3,
        "question": question,
        "intervention": intervention,
        "intervention_json": "[]",
        "caption": "a {caption} café",
        "expected": question == "positive",
        "margin": -0.25,
        "argmax_id": 7,
        "argmax_token": " " + answer.title(),
        "answer": answer,
        "text": text,
        "recipe": "{}",
    }


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.prepare(IDENTITY, {"command": "probe"})
    folder.note_environment({"date": "2026-11-21T08:55:11+00:00"})
    rows = {
        "none": [("positive", "no", None), ("absent", "neither", "No idea")],
        "bapa:layers=0-1": [("positive", "yes", None), ("absent", "no", None)],
        "bapa:layers=0/1": [("positive", "yes", None), ("absent", "no", None)],
    }
    for n, (spec, answers) in enumerate(rows.items()):
        made = [record(question, spec, answer, text) for question, answer, text in answers]
        folder.write(f"unit{n}", record_table(made, f"unit{n}"))
    return folder


def test_one_sample_word_for_word(run: RunFolder, tmp_path: Path) -> None:
    files = export(run, "lmms-eval", tmp_path / "out")
    name = "20261121_085511_samples_wheresight_grid_balanced_none.jsonl"
    assert tmp_path / "out" / "llava-hf_some_model" / name in files
    lines = (tmp_path / "out" / "llava-hf_some_model" / name).read_text().splitlines()
    document = {
        "item": "i@0.0",
        "key": "i",
        "cell": 3,
        "question": "absent",
        "caption": "a {caption} café",
        "recipe": "{}",
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    assert json.loads(lines[0]) == {
        "doc_id": 0,
        "input": "Is there a {caption} café?",
        "target": "No",
        "filtered_resps": ["No idea"],
        "doc_hash": hashlib.sha256(text.encode()).hexdigest(),
        "wheresight_grid": {
            **document,
            "prediction": "neither",
            "ground_truth": "no",
            "score": 0.0,
            "margin": -0.25,
            "intervention": "none",
        },
    }
    second = json.loads(lines[1])
    assert (second["doc_id"], second["target"], second["filtered_resps"]) == (1, "Yes", [" No"])


def test_interventions_are_paired_by_number_and_kept_apart_by_file(
    run: RunFolder, tmp_path: Path
) -> None:
    files = export(run, "lmms-eval", tmp_path / "out")
    assert len(set(files)) == 3
    read = {file: [json.loads(line) for line in file.open()] for file in files}
    specs = {rows[0]["wheresight_grid"]["intervention"] for rows in read.values()}
    assert specs == {"none", "bapa:layers=0-1", "bapa:layers=0/1"}
    for rows in read.values():
        assert [row["doc_id"] for row in rows] == [0, 1]
        assert [row["wheresight_grid"]["question"] for row in rows] == ["absent", "positive"]
    assert len({rows[0]["doc_hash"] for rows in read.values()}) == 1
    bytes_before = {file: file.read_bytes() for file in files}
    assert export(run, "lmms-eval", tmp_path / "out") == files
    assert {file: file.read_bytes() for file in files} == bytes_before


def test_the_datasets_library_reads_it(run: RunFolder, tmp_path: Path) -> None:
    import datasets

    file = export(run, "lmms-eval", tmp_path / "out")[0]
    table = datasets.load_dataset(
        "json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert table.num_rows == 2
    assert {"doc_id", "input", "target", "filtered_resps", "doc_hash"} < set(table.column_names)


def test_what_cannot_be_exported(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Did you mean 'lmms-eval'"):
        export(run, "lmms_eval", tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        export(run, "lmms-eval", tmp_path / "file")
    with pytest.raises(RunError, match="holds no run"):
        export(RunFolder(tmp_path / "empty"), "lmms-eval", tmp_path / "out")
