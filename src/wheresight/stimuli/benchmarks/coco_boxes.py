"""Boxes for questions from COCO instance annotations, by file name and category mentioned.

The file is one JSON object with the lists `images` (id, file_name, width, height), `annotations`
(image_id, category_id, bbox as [left, top, width, height] in pixels, iscrowd) and `categories` (id,
name), such as `instances_val2017.json`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks.question import Box, Question


@dataclass(frozen=True)
class _Annotated:
    """One picture: its size in pixels, and the boxes of each category in it."""

    size: tuple[int, int]
    boxes: dict[str, tuple[Box, ...]]


def with_coco_boxes(
    questions: Sequence[Question], path: Path, size_of: Callable[[str], tuple[int, int]]
) -> list[Question]:
    """Give questions the boxes of all things of the categories that their words name.

    A category is named by whole words of the question, in the singular or with a plural's ending;
    the options are not looked at, since they would name what is wrong too. Crowds have no box of
    their own and are left out. A question that has boxes keeps them.

    Args:
        questions: their pictures are called as in the file, folders aside.
        path: of the annotations.
        size_of: width and height of a picture by its name.

    Raises:
        StimulusError: a file that is no such annotations, that knows none of the pictures, or that
            was made for pictures of another size.
    """
    known, categories = _read(path)
    names = {q.picture for q in questions}
    own = {name: known[_file(name)] for name in sorted(names) if _file(name) in known}
    if not own:
        raise StimulusError(
            f"{str(path)!r} has none of the table's {len(names):,} pictures, such as "
            f"{min(names)!r}. Expected annotations whose images have these file names."
        )
    for name, annotated in own.items():
        if size_of(name) != annotated.size:
            width, height = size_of(name)
            raise StimulusError(
                f"The picture {name!r} is {width} x {height} pixels, and {str(path)!r} says "
                f"{annotated.size[0]} x {annotated.size[1]}. Expected the pictures as annotated."
            )
    mentions = _mentions(categories)
    found = []
    for question in questions:
        if not question.boxes and question.picture in own:
            by_category = own[question.picture].boxes
            boxes = [
                (b, name) for name in mentions(question.stem) for b in by_category.get(name, ())
            ]
            question = replace(
                question,
                boxes=tuple(b for b, _ in boxes),
                box_labels=tuple(name for _, name in boxes),
            )
        found.append(question)
    return found


def _mentions(categories: Iterable[str]) -> Callable[[str], list[str]]:
    """Finds the categories that a text names; the longest name wins, so `hot dog` is no `dog`."""
    by_words = {" ".join(name.casefold().split()): name for name in categories}
    longest = sorted(by_words, key=lambda words: (-len(words), words))
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, longest))})(?:e?s)?\b")

    def find(text: str) -> list[str]:
        named = pattern.findall(" ".join(text.casefold().split()))
        return [by_words[words] for words in dict.fromkeys(named)]

    return find


def _read(path: Path) -> tuple[dict[str, _Annotated], list[str]]:
    """Annotated pictures by file name without folders, and the names of all categories."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        categories = {c["id"]: str(c["name"]) for c in data["categories"]}
        boxes: dict[Any, dict[str, tuple[Box, ...]]] = {}
        for a in data["annotations"]:
            left, top, width, height = map(float, a["bbox"])
            if not a.get("iscrowd") and width > 0 and height > 0:
                own = boxes.setdefault(a["image_id"], {})
                name = categories[a["category_id"]]
                own[name] = (*own.get(name, ()), (left, top, left + width, top + height))
        files = Counter(_file(i["file_name"]) for i in data["images"])
        found = {
            _file(i["file_name"]): _Annotated(
                (int(i["width"]), int(i["height"])), boxes.get(i["id"], {})
            )
            for i in data["images"]
        }
        if not categories:
            raise ValueError("it has no categories")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise StimulusError(
            f"{str(path)!r} cannot be read as COCO instance annotations: {why[:200].rstrip('.')}. "
            "Expected a JSON object with images, annotations and categories, such as "
            "instances_val2017.json."
        ) from None
    twice = next((name for name, count in files.items() if count > 1), None)
    if twice is not None:
        raise StimulusError(
            f"Two images of {str(path)!r} have the file name {twice!r}, folders aside. Names must "
            "differ, since pictures are found by them."
        )
    return found, list(categories.values())


def _file(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name
