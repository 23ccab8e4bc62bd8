"""Published files and the user's own: read as they are, refused where they are not."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks import Benchmark, benchmarks, open_benchmark
from wheresight.stimuli.benchmarks.vsr_relations import KINDS, UNLISTED
from wheresight.stimuli.benchmarks.whatsup import is_plural

VSR = Path(os.environ.get("WHERESIGHT_VSR", "no-such-folder"))  # with zeroshot_test.jsonl
ROW = {
    "image": "000000000139.jpg",
    "image_link": "http://images.cocodataset.org/val2017/000000000139.jpg",
    "caption": "The cat is left of the dog.",
    "label": 1,
    "relation": "left of",
    "annotator_id": 2,
    "vote_true_validator_id": "[1, 2]",
    "vote_false_validator_id": "[]",
}


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (20, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def rows(path: Path, found: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


@pytest.fixture
def controlled(tmp_path: Path) -> Path:
    """WhatsUp A as published: two sets of four, rows in no order, the right caption first."""
    phrases = {"left_of": "to the left of", "right_of": "to the right of", "on": "on",
               "under": "under"}  # fmt: skip
    found = []
    for thing, place in (("beer-bottle", "armchair"), ("scissors", "table")):
        for relation in phrases:
            name = f"{thing}_{relation}_{place}.jpeg"
            picture(tmp_path / "controlled_images" / name)
            others = [r for r in phrases if r != relation]
            captions = [
                f"A {thing.replace('-', ' ')} {phrases[r]} a {place}" for r in (relation, *others)
            ]
            found.append(
                {"image_path": f"data/controlled_images/{name}", "caption_options": captions}
            )
    order = [0, 4, 1, 7, 2, 5, 3, 6]
    (tmp_path / "controlled_images_dataset.json").write_text(json.dumps([found[n] for n in order]))
    return tmp_path


def test_controlled_pictures(controlled: Path) -> None:
    found = open_benchmark(f"whatsup-a:{controlled}")
    questions = found.questions()
    assert questions[0].text == (
        "Where is the beer bottle in relation to the armchair? "
        "Answer with left, right, on or under."
    )
    assert questions[1].stem == "Where are the scissors in relation to the table?"
    assert [q.answer for q in questions[:4]] == ["left", "left", "right", "under"]
    assert Counter(q.category for q in questions) == dict.fromkeys(
        ("left", "right", "on", "under"), 2
    )
    assert Counter(q.group for q in questions) == {"beer-bottle/armchair": 4, "scissors/table": 4}
    assert all(q.group_size == 4 and q.chance == 0.25 for q in questions)
    pairs = Counter(q.pair for q in questions)
    assert len(pairs) == 4 and set(pairs.values()) == {2}
    by_pair = {(q.pair, q.answer) for q in questions}
    assert {a for pair, a in by_pair if pair == questions[0].pair} == {"left", "right"}
    assert found.picture(questions[0]).size == (20, 10)


def test_clevr_names_in_front(tmp_path: Path) -> None:
    picture(tmp_path / "controlled_clevr" / "mug_in-front_of_cap.jpeg")
    captions = ["A mug in front of a cap", "A mug behind a cap", "A mug to the left of a cap",
                "A mug to the right of a cap"]  # fmt: skip
    row = {"image_path": "data/controlled_clevr/mug_in-front_of_cap.jpeg",
           "caption_options": captions}  # fmt: skip
    (tmp_path / "controlled_clevr_dataset.json").write_text(json.dumps([row]))
    (question,) = open_benchmark(f"whatsup-b:{tmp_path}").questions()
    assert question.answer == "front" and question.pair == "mug/cap/along"
    assert question.text.endswith("Answer with left, right, front or behind.")


PHOTOS = [
    ("coco-one", "coco_qa_one_obj.json", "val2017/000000000139.jpg",
     [139, "A photo of a dining table on the bottom", "A photo of a dining table on the top"],
     "Where is the dining table in the photo? Answer with left, right, top or bottom.", "bottom"),
    ("coco-two", "coco_qa_two_obj.json", "val2017/000000000139.jpg",
     [139, "A photo of a TV to the left of a couch", "A photo of a TV to the right of a couch"],
     "Where is the TV in relation to the couch? Answer with left, right, above or below.", "left"),
    ("coco-two", "coco_qa_two_obj.json", "val2017/000000000139.jpg",
     [139, "A photo of a bird above a bus", "A photo of a bird below a bus"],
     "Where is the bird in relation to the bus? Answer with left, right, above or below.", "above"),
    ("vg-one", "vg_qa_one_obj.json", "vg_images/2354453.jpg",
     [2354453, "A photo of towels on the right", "A photo of towels on the left"],
     "Where are the towels in the photo? Answer with left, right, front, behind, top or bottom.",
     "right"),
    ("vg-two", "vg_qa_two_obj.json", "vg_images/2354453.jpg",
     [2354453, "A photo of a cart in front of a green tree", "A photo of a cart behind a tree"],
     "Where is the cart in relation to the green tree? "
     "Answer with left, right, front, behind, above or below.", "front"),
    ("vg-two", "vg_qa_two_obj.json", "vg_images/2354453.jpg",
     [2354453, "A photo of a dog on top of a sofa.", "A photo of a dog under a sofa."],
     "Where is the dog in relation to the sofa? "
     "Answer with left, right, front, behind, above or below.", "above"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "file", "image", "row", "text", "answer"), PHOTOS)
def test_photos(
    tmp_path: Path, part: str, file: str, image: str, row: list[Any], text: str, answer: str
) -> None:
    picture(tmp_path / image)
    (tmp_path / file).write_text(json.dumps([row]))
    found = open_benchmark(f"whatsup-{part}:{tmp_path}")
    (question,) = found.questions()
    assert (question.text, question.answer) == (text, answer)
    assert question.group == question.pair == "" and question.category == answer
    assert found.picture(question).size == (20, 10)


def test_plural_nouns_as_adaptvis_has_them() -> None:
    plural = (
        "scissors,sunglasses,shoes,glasses,headphones,black trees,drawers,noodles,children,nuts"
    )
    single = "glass,bus,grass,ball of yarn,bottle of pills,TV,tennis racket,dining table,person"
    assert all(is_plural(noun) for noun in plural.split(","))
    assert not any(is_plural(noun) for noun in single.split(","))


@pytest.mark.parametrize("name", [n for n in benchmarks() if n.startswith(("whatsup", "vsr"))])
def test_what_is_missing_is_named_with_where_to_get_it(name: str, tmp_path: Path) -> None:
    for spec in (name, f"{name}:{tmp_path}", f"{name}:{tmp_path / 'nowhere'}"):
        with pytest.raises(StimulusError, match="https://") as error:
            open_benchmark(spec)
        assert name in str(error.value)


def test_rows_that_are_not_as_published(tmp_path: Path) -> None:
    path = tmp_path / "coco_qa_two_obj.json"
    for content in (
        "{}",
        "[[1, 2]]",
        '[[1, "A photo of a cat", "b"]]',
        "[",
        '[["../x", "a", "b"]]',
    ):
        path.write_text(content)
        with pytest.raises(StimulusError, match="coco_qa_two_obj.json"):
            open_benchmark(f"whatsup-coco-two:{tmp_path}")
    row = {"image_path": "../a_on_b.jpeg", "caption_options": ["A a on a b"]}
    (tmp_path / "controlled_images_dataset.json").write_text(json.dumps([row]))
    with pytest.raises(StimulusError, match="outside of its folder"):
        open_benchmark(f"whatsup-a:{tmp_path}")


# ---- VSR ------------------------------------------------------------------------------------


@pytest.mark.skipif(not VSR.is_dir(), reason="WHERESIGHT_VSR names no folder of published rows")
def test_the_real_zero_shot_rows() -> None:
    questions = open_benchmark(f"vsr-zeroshot:{VSR}").questions()
    assert len(questions) == 1222
    assert Counter(q.answer for q in questions) == {"yes": 629, "no": 593}
    assert len({q.cluster for q in questions}) == 715
    kinds = Counter(q.category for q in questions)
    assert set(kinds) == set(KINDS)  # every relation of the test rows is listed
    by_relation = open_benchmark(f"vsr-zeroshot:{VSR}#categories=relation").questions()
    assert len({q.category for q in by_relation}) == 53
    projective = sum(q.category in KINDS["Projective"] for q in by_relation)
    assert kinds["Projective"] == projective
    folders = Counter(q.picture.split("/")[0] for q in questions)
    assert folders == {"train2017": 1180, "val2017": 42}
    assert questions[0].text == (
        "Determine whether the description about the spatial relationship is correct or not. "
        "Answer with yes or no: The car is behind the suitcase."
    )
    assert len(open_benchmark(f"vsr-zeroshot:{VSR}#split=dev").questions()) == 340
    test = open_benchmark(f"vsr-zeroshot:{VSR}#part=adaptvis-test").questions()
    validation = open_benchmark(f"vsr-zeroshot:{VSR}#part=adaptvis-validation").questions()
    assert (len(validation), len(test)) == (244, 978)
    found = open_benchmark(f"vsr-zeroshot:{VSR}")
    with pytest.raises(StimulusError, match=r"(?s)no image .*cocodataset\.org"):
        found.picture(found.questions()[0])


def test_vsr_finds_pictures_in_either_layout(tmp_path: Path) -> None:
    rows(tmp_path / "zeroshot" / "test.jsonl", [{**ROW, "subj": "cat", "obj": "dog"}])
    rows(tmp_path / "random_test.jsonl", [{**ROW, "label": 0, "reference_frame": None}])
    picture(tmp_path / "images" / ROW["image"], "blue")
    zeroshot = open_benchmark(f"vsr-zeroshot:{tmp_path}")
    assert zeroshot.picture(zeroshot.questions()[0]).getpixel((5, 5))[2] > 200
    picture(tmp_path / "val2017" / ROW["image"], "red")
    random = open_benchmark(f"vsr-random:{tmp_path}")
    assert random.picture(random.questions()[0]).getpixel((5, 5))[0] > 200
    assert random.questions()[0].answer == "no"


def test_vsr_is_reported_by_seven_kinds_of_relation(tmp_path: Path) -> None:
    named = [relation for relations in KINDS.values() for relation in relations]
    assert len(KINDS) == 7 and len(named) == len(set(named)) == 70
    asked = ["left of", "among", "facing away from", "Touching ", "inside of"]
    wanted = ["Projective", "Unallocated", "Orientation", "Topological", UNLISTED]
    rows(tmp_path / "test.jsonl", [{**ROW, "relation": relation} for relation in asked])
    found = open_benchmark(f"vsr-random:{tmp_path}")
    assert [q.category for q in found.questions()] == wanted
    single = open_benchmark(f"vsr-random:{tmp_path}#categories=relation")
    assert [q.category for q in single.questions()] == asked
    assert single.name.endswith("#categories=relation") and found.name == f"vsr-random:{tmp_path}"
    with pytest.raises(StimulusError, match="categories of vsr-random"):
        open_benchmark(f"vsr-random:{tmp_path}#categories=meta")


def test_vsr_rows_of_the_other_split_are_refused(tmp_path: Path) -> None:
    rows(tmp_path / "test.jsonl", [{**ROW, "reference_frame": "Intrinsic"}])
    assert len(open_benchmark(f"vsr-random:{tmp_path}").questions()) == 1
    with pytest.raises(StimulusError, match="random split"):
        open_benchmark(f"vsr-zeroshot:{tmp_path}")
    rows(tmp_path / "test.jsonl", [{**ROW, "label": "true"}])
    with pytest.raises(StimulusError, match="label 'true'"):
        open_benchmark(f"vsr-random:{tmp_path}")
    rows(tmp_path / "test.jsonl", [{**ROW, "image": "../../etc/passwd"}])
    with pytest.raises(StimulusError, match="outside of its folder"):
        open_benchmark(f"vsr-random:{tmp_path}")


# ---- the user's own ---------------------------------------------------------------------------

OWN = [
    {"image": "a.png", "question": "Where is the mug?", "options": ["left", "right"],
     "answer": "Right", "group": "mug", "category": "across", "boxes": [[0, 1, 5, 9]]},
    {"image": "pics/b.png", "question": "Where is the mug?", "options": ["left", "right"],
     "answer": "a", "group": "mug", "category": "across", "boxes": None},
    {"image": "a.png", "question": "Is it red?", "options": None, "answer": "yes",
     "group": None, "category": None, "boxes": None},
]  # fmt: skip


def write_own(folder: Path, kind: str) -> Path:
    picture(folder / "a.png", "red")
    picture(folder / "pics" / "b.png", "blue")
    path = folder / f"q.{kind}"
    if kind == "jsonl":
        rows(path, OWN)
    elif kind == "json":
        path.write_text(json.dumps(OWN))
    elif kind == "csv":
        with path.open("w", newline="") as lines:
            table = csv.DictWriter(lines, fieldnames=list(OWN[0]))
            table.writeheader()
            for n, row in enumerate(OWN):
                options = row["options"] and (
                    json.dumps(row["options"]) if n else "|".join(row["options"])
                )
                boxes = row["boxes"] and json.dumps(row["boxes"])
                table.writerow({**row, "options": options, "boxes": boxes})
    else:
        stored = [{**row, "image": {"bytes": (folder / row["image"]).read_bytes(), "path": None}}
                  for row in OWN]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(stored), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_own_sets_of_every_kind(tmp_path: Path, kind: str) -> None:
    found = open_benchmark(f"own:{write_own(tmp_path, kind)}")
    one, two, three = found.questions()
    assert one.text == "Where is the mug? Answer with left or right."
    assert (one.answer, two.answer, three.answer) == ("right", "left", "yes")
    assert (one.group, one.group_size, three.group, three.group_size) == ("mug", 2, "", 0)
    assert one.boxes == ((0.0, 1.0, 5.0, 9.0),) and two.boxes == ()
    assert three.options == ("yes", "no")
    assert (one.cluster == three.cluster) and one.cluster != two.cluster
    assert found.picture(one).getpixel((1, 1)) == (255, 0, 0)
    assert found.picture(two).getpixel((1, 1)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "up"}, "none of its options"),
        ({"answer": "C"}, "none of its options"),
        ({"answer": ""}, "no question or no answer"),
        ({"question": None}, "no question or no answer"),
        ({"options": ["left"], "answer": "left"}, "at least two"),
        ({"options": ["left", "Left"], "answer": "left"}, "all different"),
        ({"options": [1, 2]}, "no list of texts"),
        ({"boxes": [[5, 5, 1, 1]]}, "left, top, right, bottom"),
        ({"boxes": "here"}, "left, top, right, bottom"),
        ({"image": "/etc/passwd"}, "outside of its folder"),
        ({"image": None}, "names no image"),
    ],
)
def test_own_rows_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    rows(tmp_path / "q.jsonl", [{**OWN[0], **change}])
    with pytest.raises(StimulusError, match=said):
        open_benchmark(f"own:{tmp_path / 'q.jsonl'}")


def test_own_tables_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content in (("q.jsonl", b"{"), ("q.json", b"{}"), ("q.parquet", b"no"),
                          ("q.txt", b"x"), ("q.csv", b"\xff\xfe\x00")):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StimulusError, match="Expected"):
            open_benchmark(f"own:{tmp_path / name}")
    with pytest.raises(StimulusError, match="needs a table"):
        open_benchmark("own")
    rows(tmp_path / "q.jsonl", [{**OWN[0], "id": 1}, {**OWN[0], "id": 1}])
    with pytest.raises(StimulusError, match="have the id '1'"):
        open_benchmark(f"own:{tmp_path / 'q.jsonl'}")
    rows(tmp_path / "q.jsonl", [])
    with pytest.raises(StimulusError, match="no questions"):
        open_benchmark(f"own:{tmp_path / 'q.jsonl'}")


# ---- localisation -----------------------------------------------------------------------------


def test_localisation_asks_about_the_probes_own_composites() -> None:
    from wheresight.probes.grid import GridProbe, GridSettings
    from wheresight.stimuli.sources import open_source

    source = open_source("pocket")
    settings = GridSettings(
        model="m", model_revision="r", dtype="float32", attention="sdpa", source="pocket",
        source_fingerprint=source.fingerprint, protocol="paper", question="{caption}",
        scoring="first_token", max_new_tokens=None, rows=2, columns=3, layout="swap", canvas=96,
        tile=32, background="white", jitter=0, seed=5,
    )  # fmt: skip
    probe = GridProbe(settings, source, 4)
    found = open_benchmark("localisation#items=4,grid=2x3,canvas=96,tile=32,seed=5")
    shown = probe.shown(probe.items)
    assert [q.picture for q in found.questions()] == [c.recipe.to_json() for c in shown]
    for question, composite in zip(found.questions(), shown, strict=True):
        assert question.right == composite.cell and question.group == composite.item
        assert question.stem == f"Where is {composite.asks[0].caption}?"
        assert question.group_size == 6 and question.cluster == composite.key
    assert found.questions()[0].options == (
        "top left", "top", "top right", "bottom left", "bottom", "bottom right",
    )  # fmt: skip
    picture = found.picture(found.questions()[3])
    assert picture.tobytes() == probe.render(shown[3].recipe.to_json()).tobytes()


def test_localisation_of_large_grids() -> None:
    found: Benchmark = open_benchmark("localisation#items=1,grid=4x4")
    assert found.questions()[5].answer == "row 2 column 2"
    with pytest.raises(StimulusError, match="choose a smaller grid"):
        open_benchmark("localisation#items=1,grid=6x6")
