"""Visual Spatial Reasoning (Liu, Emerson and Collier, TACL 2023): is the caption true?

The zero-shot files hold 3,489 / 340 / 1,222 rows for train / dev / test, not the 4,713 / 231 / 616
that the paper and README still say. The question is AdaptVis's (arXiv 2503.01773), which takes 80 %
of the zero-shot test rows for its table (`#part=adaptvis-test`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli.benchmarks.about import About
from wheresight.stimuli.benchmarks.files import Pictures, find, inside, read_table
from wheresight.stimuli.benchmarks.labelled import Labelled
from wheresight.stimuli.benchmarks.options import refuse_unknown
from wheresight.stimuli.benchmarks.question import Question
from wheresight.stimuli.benchmarks.vsr_relations import kind_of

WHERE_FROM = (
    "Get the rows from https://huggingface.co/datasets/cambridgeltl/vsr_zeroshot (or vsr_random, "
    "or data/splits of https://github.com/cambridgeltl/visual-spatial-reasoning) and the pictures "
    "from https://cocodataset.org (train2017 and val2017), put the folders train2017 and val2017, "
    "or all pictures in one folder images, beside the rows, and name that folder, as in "
    "vsr-zeroshot:FOLDER."
)
SPLITS = ("train", "dev", "test")
CATEGORIES = ("kind", "relation")
_PROMPT = (
    "Determine whether the description about the spatial relationship is correct or not. "
    "Answer with yes or no: {caption}"
)


def open(location: str, options: Mapping[str, str], *, variant: str) -> Labelled:
    """Open VSR from a folder with its rows and COCO's pictures.

    Options: `split` (default test); `categories`, `kind` for the seven kinds of relation by which
    the paper reports (default), `relation` for each relation by itself.
    """
    name = f"vsr-{variant}"
    given = dict(options)
    split = given.pop("split", "test")
    by = given.pop("categories", "kind")
    refuse_unknown(name, given, ("split", "categories"))
    if split not in SPLITS:
        raise StimulusError(unknown_name(f"split of {name}", split, SPLITS))
    if by not in CATEGORIES:
        raise StimulusError(unknown_name(f"categories of {name}", by, CATEGORIES))
    if not location:
        raise StimulusError(f"The benchmark {name!r} needs a folder. {WHERE_FROM}")
    folder = Path(location).expanduser()
    path = find(
        folder,
        (f"{variant}_{split}.jsonl", f"{variant}/{split}.jsonl", f"{split}.jsonl"),
        f"The benchmark {name!r}",
        WHERE_FROM,
    )
    rows = read_table(path)
    _check_variant(rows, variant, path)
    questions = [_question(number, row, path, by) for number, row in enumerate(rows)]
    named = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
    spec = f"{name}:{location}" + (f"#{named}" if named else "")
    return Labelled(spec, questions, functools.partial(_picture, Pictures(folder, WHERE_FROM)))


def _check_variant(rows: list[dict[str, Any]], variant: str, path: Path) -> None:
    """Only the zero-shot files name subject and object; the plain `test.jsonl` may be of either."""
    if rows and ("subj" in rows[0]) != (variant == "zeroshot"):
        other = "random" if variant == "zeroshot" else "zero-shot"
        raise StimulusError(
            f"{str(path)!r} holds rows of VSR's {other} split (by its fields {sorted(rows[0])}). "
            f"Expected those of the {variant} split. {WHERE_FROM}"
        )


def _question(number: int, row: Mapping[str, Any], path: Path, by: str) -> Question:
    where = f"Row {number} of {str(path)!r}"
    caption, label = row.get("caption"), row.get("label")
    if not isinstance(caption, str) or label not in (0, 1):
        raise StimulusError(
            f"{where} has the caption {caption!r} and the label {label!r}. Expected a text, and 1 "
            f"(true) or 0. {WHERE_FROM}"
        )
    link = str(row.get("image_link") or "").split("/")
    coco = link[-2] if len(link) > 1 and link[-2] in ("train2017", "val2017") else "images"
    file = inside(row.get("image"), where)
    relation = str(row.get("relation") or "")
    return Question(
        id=str(number),
        picture=f"{coco}/{file}",
        cluster=file,
        stem=f"Is this description of the picture correct? {caption}",
        text=_PROMPT.format(caption=caption),
        options=("yes", "no"),
        right=0 if label == 1 else 1,
        category=relation if by == "relation" else kind_of(relation),
    )


def _picture(pictures: Pictures, name: str) -> Image.Image:
    """Look in COCO's folder first, then in `images`."""
    alone = f"images/{name.split('/')[-1]}"
    has_own = (pictures.folder / name).is_file() or not (pictures.folder / alone).is_file()
    return pictures[name if has_own else alone]


open_random = functools.partial(open, variant="random")
open_zeroshot = functools.partial(open, variant="zeroshot")

ABOUT = {
    name: About(
        f"Is a caption about the places of two things in a photo true? {split}",
        f"{name}:FOLDER",
        WHERE_FROM,
        "rows CC BY 4.0 (the repository is Apache-2.0); pictures on COCO's own terms",
        {
            "split": f"{', '.join(SPLITS)} (test)",
            "categories": "kind, the seven of the paper, or relation (kind)",
        },
        "Visual Spatial Reasoning, TACL 2023, arXiv 2205.00363",
    )
    for name, split in (
        ("vsr-random", "Rows split at random."),
        ("vsr-zeroshot", "No concept of the test rows is in the training rows."),
    )
}
