"""Your own labelled set: one row a question, in CSV, JSONL, JSON or Parquet.

Columns: `image` (a file's name, from the table's folder; in Parquet also encoded bytes),
`question`, `options` (a list; in CSV a JSON list, or parted by `|`; left out for yes and no),
`answer` (an option, or its letter). If there are any: `id`, `category`, `group` (questions that
count as one set), `pair`, `cluster` (default: the image), `boxes` (list of [left, top, right,
bottom], pixels), `box_labels` (a list as long: what is in each box). The option `coco` names a
file of COCO instance annotations, from which questions without boxes get those of the things that
they name (`coco_boxes`), as in `own:questions.jsonl#coco=instances_val2017.json`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli import images
from wheresight.stimuli.benchmarks.about import About
from wheresight.stimuli.benchmarks.coco_boxes import with_coco_boxes
from wheresight.stimuli.benchmarks.files import Pictures, digest, inside, read_table
from wheresight.stimuli.benchmarks.labelled import Labelled
from wheresight.stimuli.benchmarks.options import refuse_unknown
from wheresight.stimuli.benchmarks.question import LETTERS, Box, Question, answer_with
from wheresight.stimuli.captions import clean

_FORM = (
    "Expected the columns image, question, options and answer, such as "
    '{"image": "a.png", "question": "Where is the mug?", "options": ["left", "right"], '
    '"answer": "left"}.'
)


def open(location: str, options: Mapping[str, str]) -> Labelled:
    """Open a table of questions; pictures are beside it, or in it."""
    refuse_unknown("own", {k: v for k, v in options.items() if k != "coco"}, ("coco",))
    if not location:
        raise StimulusError("The benchmark 'own' needs a table, as in own:questions.jsonl.")
    path = Path(location).expanduser()
    stored: dict[str, bytes] = {}
    rows = read_table(path)
    questions = [_question(number, row, path, stored) for number, row in enumerate(rows)]
    sizes = Counter(question.group for question in questions if question.group)
    questions = [replace(q, group_size=sizes.get(q.group, 0)) for q in questions]
    pictures = Pictures(path.parent)

    def read(name: str) -> Image.Image:
        return images.decode(stored[name], name) if name in stored else pictures[name]

    coco = options.get("coco")
    if coco is not None:
        file = Path(coco).expanduser()
        questions = with_coco_boxes(questions, file, lambda name: read(name).size)
    return Labelled(f"own:{location}{f'#coco={coco}' if coco else ''}", questions, read)


def _question(
    number: int, row: Mapping[str, Any], path: Path, stored: dict[str, bytes]
) -> Question:
    where = f"Row {number} of {str(path)!r}"
    if not row.get("question") or row.get("answer") in (None, ""):
        raise StimulusError(f"{where} has no question or no answer. {_FORM}")
    picture = _picture(row.get("image"), where, stored)
    options = _options(row.get("options"), where)
    stem = clean(row["question"], where)
    boxes = _boxes(row.get("boxes"), where)
    return Question(
        id=_text(row, "id") or str(number),
        picture=picture,
        cluster=_text(row, "cluster") or picture,
        stem=stem,
        text=f"{stem} {answer_with(options)}",
        options=options,
        right=_right(row["answer"], options, where),
        category=_text(row, "category"),
        group=_text(row, "group"),
        pair=_text(row, "pair"),
        boxes=boxes,
        box_labels=_box_labels(row.get("box_labels"), len(boxes), where),
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def _picture(value: Any, where: str, stored: dict[str, bytes]) -> str:
    """The picture's name; one that is stored in the table is named by a hash of its bytes."""
    if isinstance(value, dict):  # as the datasets library writes images
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        name = f"stored/{digest(value.hex())}"
        stored[name] = value
        return name
    return inside(value, where)


def _options(value: Any, where: str) -> tuple[str, ...]:
    if value in (None, "", []):
        return ("yes", "no")
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split("|")
        except ValueError:
            value = None
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
        raise StimulusError(f"{where} has options that are no list of texts. {_FORM}")
    return tuple(" ".join(option.split()) for option in value)


def _right(value: Any, options: tuple[str, ...], where: str) -> int:
    """Number of the right option: by its words, or else by its letter."""
    said = str(value).strip().casefold()
    words = [option.casefold() for option in options]
    if said in words:
        return words.index(said)
    letter = LETTERS.casefold().find(said) if len(said) == 1 else -1
    if 0 <= letter < len(options):
        return letter
    raise StimulusError(
        f"{where} has the answer {value!r}, which is none of its options {list(options)}, nor the "
        "letter of one. Expected one of them."
    )


def _boxes(value: Any, where: str) -> tuple[Box, ...]:
    if value in (None, "", []):
        return ()
    try:
        found = json.loads(value) if isinstance(value, str) else value
        boxes = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in found)
    except (ValueError, TypeError):
        boxes = ()
    finite = all(math.isfinite(end) for box in boxes for end in box)
    if not boxes or not finite or any(a >= c or b >= d for a, b, c, d in boxes):
        raise StimulusError(
            f"{where} has the boxes {value!r}. Expected a list of [left, top, right, bottom] in "
            "pixels, left below right and top below bottom."
        )
    return boxes


def _box_labels(value: Any, count: int, where: str) -> tuple[str, ...]:
    if value in (None, "", []):
        return ()
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list) or len(found) != count:
        raise StimulusError(
            f"{where} has {count} boxes and the labels {value!r} of them. Expected a list of texts "
            "as long as that of its boxes."
        )
    return tuple(str(label) for label in found)


ABOUT = {
    "own": About(
        "Your own questions, from a table with the columns image, question, options and answer.",
        "own:TABLE, a .csv, .jsonl, .json or .parquet file",
        "your own",
        "your own",
        {"coco": "COCO instance annotations that boxes of things are taken from"},
        "none",
    )
}
