"""Boxes over the pictures of examples: where they are drawn, and what benchmarks say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.report.evaluation.boxes import MOST, LabelledBox, outlines
from wheresight.runs.evaluation_page import renders
from wheresight.stimuli.benchmarks import open_benchmark
from wheresight.stimuli.benchmarks.shapes import COLOURS

SIZE = (200, 100)
SCRIPT = "<script>alert(2)</script>"


def test_a_box_partly_outside_stays_open_and_others_are_counted() -> None:
    nan, inf = float("nan"), float("inf")
    boxes: list[LabelledBox] = [
        ((-40, 20, 20, 1e300), "edge"), ((300, 0, 310, 9), "far"), ((nan, 0, 9, 9), ""),
        ((0, 0, inf, 9), ""), ((0, -9, 9, 0), "touches"),
    ]  # fmt: skip
    found = outlines(boxes, SIZE)
    (one,) = found.shown
    assert one.style == "left:-20.000%;top:20.000%;width:30.000%;height:100.000%"
    assert one.tip.split("\n")[0] == "edge" and one.tip.endswith("Partly outside of the picture")
    assert (found.outside, found.more) == (4, 0)


def test_of_many_boxes_some_are_drawn_and_small_ones_lie_on_large_ones() -> None:
    found = outlines([((0, 0, 9 + n, 9), f"b{n}") for n in range(MOST + 3)], SIZE)
    assert (len(found.shown), found.more) == (MOST, 3)
    assert [one.number for one in found.painted] == list(range(MOST, 0, -1))


@pytest.mark.parametrize("control", ["", ",control=swap"])
def test_a_label_of_2ds_is_what_stands_in_its_box(control: str) -> None:
    benchmark = open_benchmark(f"2ds#images=3{control}")
    at_hand = renders({benchmark.name: benchmark.fingerprint}, {benchmark.name: benchmark})(
        benchmark.name
    )
    assert at_hand is not None
    seen = 0
    for question in benchmark.questions():
        picture = at_hand.picture(question.id)
        for (left, top, right, bottom), label in at_hand.boxes(question.id):
            middle = picture.getpixel((round((left + right) / 2), round((top + bottom) / 2)))
            assert middle == COLOURS[label.split()[0]], (question.id, label)
            seen += 1
    assert seen > len(benchmark.questions())


def test_the_cell_of_a_composite_is_called_by_its_caption() -> None:
    question = open_benchmark("localisation#items=1").questions()[4]
    assert question.stem == f"Where is {question.box_labels[0]}?" and len(question.boxes) == 1


def test_labels_of_an_own_table_and_of_coco_annotations(tmp_path: Path) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    row = {"id": "q", "image": "a.png", "question": "Is the dog left of the bench?",
           "answer": "yes"}  # fmt: skip
    boxed = {**row, "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]], "box_labels": [SCRIPT, "bench"]}
    table, coco = tmp_path / "own.json", tmp_path / "coco.json"
    coco.write_text(json.dumps({
        "images": [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "bench"}],
        "annotations": [{"image_id": 1, "category_id": c, "bbox": [9 * c, 9, 9, 9]}
                        for c in (2, 1, 2)],
    }))  # fmt: skip
    table.write_text(json.dumps([boxed]))
    assert open_benchmark(f"own:{table}").questions()[0].box_labels == (SCRIPT, "bench")
    table.write_text(json.dumps([row]))
    question = open_benchmark(f"own:{table}#coco={coco}").questions()[0]
    assert question.box_labels == ("dog", "bench", "bench")
    assert [box[0] for box in question.boxes] == [9, 18, 18]
    for wrong in (["one"], "no list", {"a": 1}):
        table.write_text(json.dumps([{**boxed, "box_labels": wrong}]))
        with pytest.raises(StimulusError, match="has 2 boxes and the labels"):
            open_benchmark(f"own:{table}")
    table.write_text(json.dumps([{**row, "boxes": [[0, 0, float("nan"), 9]]}]))
    with pytest.raises(StimulusError, match="left below right"):
        open_benchmark(f"own:{table}")
