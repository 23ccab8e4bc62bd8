"""Boxes from COCO annotations, on a file of the published form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks import open_benchmark

QUESTIONS = {
    "dog": "Is the Dog left of the bench?",
    "food": "Is the hot  dog on a plate?",
    "plural": "Where are the benches?",
    "part": "Is there a hotdogma?",
    "crowd": "Where are the persons?",
}


def annotations() -> dict[str, Any]:
    def thing(category: int, *bbox: float, image: int = 7, crowd: int = 0) -> dict[str, Any]:
        return {"image_id": image, "category_id": category, "bbox": bbox, "iscrowd": crowd}

    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 8, "file_name": "b.png", "width": 10, "height": 10},
        ],
        "categories": [
            {"id": n, "name": name}
            for n, name in ((1, "dog"), (2, "bench"), (3, "hot dog"), (4, "person"))
        ],
        "annotations": [
            thing(1, 2.5, 3, 10, 20),
            thing(1, 30, 3, 4, 4),
            thing(2, 0, 40, 64, 8),
            thing(3, 5, 5, 6, 7),
            thing(1, 0, 0, 9, 9, image=8),
            thing(4, 0, 0, 64, 48, crowd=1),
        ],
    }


def table(folder: Path, found: object, **more: object) -> str:
    (folder / "pictures").mkdir(exist_ok=True)
    Image.new("RGB", (64, 48)).save(folder / "pictures" / "a.png")
    rows = [
        {"id": name, "image": "pictures/a.png", "question": text, "answer": "yes", **more}
        for name, text in QUESTIONS.items()
    ]
    (folder / "own.json").write_text(json.dumps(rows))
    (folder / "coco.json").write_text(json.dumps(found))
    return f"own:{folder / 'own.json'}#coco={folder / 'coco.json'}"


def test_boxes_of_what_the_question_names(tmp_path: Path) -> None:
    spec = table(tmp_path, annotations())
    benchmark = open_benchmark(spec)
    dogs = ((2.5, 3.0, 12.5, 23.0), (30.0, 3.0, 34.0, 7.0))
    bench = ((0.0, 40.0, 64.0, 48.0),)
    assert {q.id: q.boxes for q in benchmark.questions()} == {
        "dog": dogs + bench,
        "food": ((5.0, 5.0, 11.0, 12.0),),
        "plural": bench,
        "part": (),
        "crowd": (),
    }
    assert benchmark.name == spec
    assert open_benchmark(f"{spec},sample=2").questions()[0].boxes


def test_boxes_of_the_table_stay(tmp_path: Path) -> None:
    own = open_benchmark(table(tmp_path, annotations(), boxes=[[1, 2, 3, 4]])).questions()
    assert {q.boxes for q in own} == {((1.0, 2.0, 3.0, 4.0),)}


def test_what_cannot_be_right(tmp_path: Path) -> None:
    other = annotations()
    other["images"][0]["width"] = 640
    with pytest.raises(StimulusError, match="'pictures/a.png' is 64 x 48 pixels, and .* 640 x 48"):
        open_benchmark(table(tmp_path, other))
    unknown = annotations()
    unknown["images"][0]["file_name"] = "c.png"
    with pytest.raises(StimulusError, match="has none of the table's 1 pictures"):
        open_benchmark(table(tmp_path, unknown))
    twice = annotations()
    twice["images"][1]["file_name"] = "more/a.png"
    with pytest.raises(StimulusError, match="have the file name 'a.png'"):
        open_benchmark(table(tmp_path, twice))
    for broken in ([], {"images": []}, {**annotations(), "annotations": [{"bbox": [1]}]}):
        with pytest.raises(StimulusError, match="cannot be read as COCO instance annotations"):
            open_benchmark(table(tmp_path, broken))
    with pytest.raises(StimulusError, match="cannot be read as COCO"):
        open_benchmark(table(tmp_path, annotations()).replace("coco.json", "none.json"))
