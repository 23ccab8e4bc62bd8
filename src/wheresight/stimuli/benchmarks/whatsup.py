"""WhatsUp (Kamath et al., arXiv 2310.19785) with the prompts of AdaptVis (arXiv 2503.01773).

The controlled pictures show one pair of things in four relations: a set. Its files name the right
caption first. WhatsUp asks which of two or four captions fits; AdaptVis asks a question with four
or six options instead, and so do we, by its templates: its prompt files have no licence, and hold
typing errors in some rows, which are not repeated here. Numbers by the two ways of asking cannot
be compared.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks.about import About
from wheresight.stimuli.benchmarks.files import Pictures, find, inside, read_json_list
from wheresight.stimuli.benchmarks.labelled import Labelled
from wheresight.stimuli.benchmarks.options import refuse_unknown
from wheresight.stimuli.benchmarks.question import Question, answer_with

WHERE_FROM = (
    "Get the WhatsUp data from https://github.com/amitakamath/whatsup_vlms (its README links the "
    "JSON files and archives of pictures), unpack all into one folder and name that folder, as in "
    "whatsup-a:FOLDER."
)
_RELATION = re.compile(
    r"^A photo of (?P<one>.+?) (?P<relation>(?:to the )?(?:left|right) of|in front of|behind|"
    r"above|on top of|below|under|beneath) (?P<other>.+?)\.?$",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"^A photo of (?P<one>.+?) (?:(?:on|at|in|to) )?(?:the )?(?P<place>[a-z]+)\.?$", re.IGNORECASE
)
_CONTROLLED = re.compile(
    r"^(?P<one>.+?) (?P<relation>to the left of|to the right of|in front of|behind|on|under) "
    r"(?P<other>.+?)\.?$",
    re.IGNORECASE,
)
_WORDS = {
    "left of": "left", "to the left of": "left", "right of": "right", "to the right of": "right",
    "in front of": "front", "behind": "behind", "above": "above", "on top of": "above",
    "below": "below", "under": "below", "beneath": "below",
}  # fmt: skip
_PLACES = {"back": "behind", "background": "behind", "foreground": "front"}
_PAIRS = {"left": "across", "right": "across", "on": "along", "under": "along",
          "front": "along", "behind": "along"}  # fmt: skip
_PLURAL = {"children", "people", "men", "women", "sheep"}
_ARTICLE = re.compile(r"^(?:an?|the|some) ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subset:
    """One of the six parts: its file, folder of pictures, options, and how a row is read."""

    annotation: str
    pictures: str
    options: tuple[str, ...]
    read: Callable[[Subset, int, Any, Path], Question]


def open(location: str, options: Mapping[str, str], *, subset: str) -> Labelled:
    """Open one part of WhatsUp from the folder that holds its JSON files and pictures."""
    name = f"whatsup-{subset}"
    refuse_unknown(name, options, ())
    part = SUBSETS[subset]
    if not location:
        raise StimulusError(f"The benchmark {name!r} needs a folder. {WHERE_FROM}")
    folder = Path(location).expanduser()
    path = find(folder, (part.annotation,), f"The benchmark {name!r}", WHERE_FROM)
    questions = []
    for number, row in enumerate(read_json_list(path)):
        try:
            questions.append(part.read(part, number, row, path))
        except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
            raise StimulusError(
                f"Row {number} of {str(path)!r} is not in the published form ({error}). Expected "
                f"such as {_SAMPLES[part.read]}. {WHERE_FROM}"
            ) from None
    return Labelled(f"{name}:{location}", questions, Pictures(folder, WHERE_FROM).__getitem__)


def is_plural(noun: str) -> bool:
    """Whether a noun takes `are`, by its ending: `scissors` does, `glass` and `bus` do not."""
    word = noun.split(" of ")[0].split()[-1].casefold()
    return word in _PLURAL or (word.endswith("s") and not word.endswith(("ss", "us", "is")))


def ask_relation(one: str, other: str, options: Sequence[str]) -> tuple[str, str]:
    """AdaptVis's question about two things: the stem, and with its options."""
    stem = f"Where {'are' if is_plural(one) else 'is'} the {one} in relation to the {other}?"
    return stem, f"{stem} {answer_with(options)}"


def ask_place(one: str, options: Sequence[str]) -> tuple[str, str]:
    """AdaptVis's question about one thing: the stem, and with its options."""
    stem = f"Where {'are' if is_plural(one) else 'is'} the {one} in the photo?"
    return stem, f"{stem} {answer_with(options)}"


def _controlled(part: Subset, number: int, row: Any, path: Path) -> Question:
    caption = row["caption_options"][0]  # the first is the right one
    file = inside(row["image_path"], f"Row {number} of {str(path)!r}").split("/")[-1]
    parts = file.rsplit(".", 1)[0].split("_")
    key = f"{parts[0]}/{parts[-1]}"  # as published: both things as the file's name has them
    relation = {"in-front": "front"}.get(parts[1], parts[1])
    match = _CONTROLLED.match(caption)
    if match is None or len(parts) < 3:
        raise ValueError(f"the caption {caption!r} or the name {file!r} names no two things")
    one, other = (_bare(match[name]) for name in ("one", "other"))
    stem, text = ask_relation(one, other, part.options)
    return Question(
        id=str(number),
        picture=f"{part.pictures}/{file}",
        cluster=key,
        stem=stem,
        text=text,
        options=part.options,
        right=part.options.index(relation),
        category=relation,
        group=key,
        group_size=len(part.options),
        pair=f"{key}/{_PAIRS[relation]}",
    )


def _two(part: Subset, number: int, row: Any, path: Path) -> Question:
    image, caption, _ = row
    match = _RELATION.match(" ".join(caption.split()))
    if match is None:
        raise ValueError(f"the caption {caption!r} names no relation of two things")
    one, other = (_bare(match[name]) for name in ("one", "other"))
    word = _WORDS[match["relation"].lower()]
    stem, text = ask_relation(one, other, part.options)
    return _photo(part, number, image, stem, text, word)


def _one(part: Subset, number: int, row: Any, path: Path) -> Question:
    image, caption, _ = row
    match = _PLACE.match(" ".join(caption.split()))
    if match is None:
        raise ValueError(f"the caption {caption!r} names no place")
    place = match["place"].lower()
    stem, text = ask_place(_bare(match["one"]), part.options)
    return _photo(part, number, image, stem, text, _PLACES.get(place, place))


def _photo(part: Subset, number: int, image: Any, stem: str, text: str, word: str) -> Question:
    padded = f"{int(image):012d}" if part.pictures == "val2017" else str(int(image))
    return Question(
        id=str(number),
        picture=f"{part.pictures}/{padded}.jpg",
        cluster=str(int(image)),
        stem=stem,
        text=text,
        options=part.options,
        right=part.options.index(word),
        category=word,
    )


def _bare(noun: str) -> str:
    return _ARTICLE.sub("", noun.strip())


_SAMPLES: Mapping[Any, str] = {
    _controlled: '{"image_path": "data/controlled_images/mug_on_table.jpeg", "caption_options": '
    '["A mug on a table", ...]}, the right caption first',
    _two: '[139, "A photo of a cat to the left of a dog", "A photo of a cat to the right of a '
    'dog"], the right caption first',
    _one: '[139, "A photo of a cat on the left", "A photo of a cat on the right"], the right '
    "caption first",
}

SUBSETS: Mapping[str, Subset] = {
    "a": Subset("controlled_images_dataset.json", "controlled_images",
                ("left", "right", "on", "under"), _controlled),
    "b": Subset("controlled_clevr_dataset.json", "controlled_clevr",
                ("left", "right", "front", "behind"), _controlled),
    "coco-one": Subset("coco_qa_one_obj.json", "val2017",
                       ("left", "right", "top", "bottom"), _one),
    "coco-two": Subset("coco_qa_two_obj.json", "val2017",
                       ("left", "right", "above", "below"), _two),
    "vg-one": Subset("vg_qa_one_obj.json", "vg_images",
                     ("left", "right", "front", "behind", "top", "bottom"), _one),
    "vg-two": Subset("vg_qa_two_obj.json", "vg_images",
                     ("left", "right", "front", "behind", "above", "below"), _two),
}  # fmt: skip

open_a = functools.partial(open, subset="a")
open_b = functools.partial(open, subset="b")
open_coco_one = functools.partial(open, subset="coco-one")
open_coco_two = functools.partial(open, subset="coco-two")
open_vg_one = functools.partial(open, subset="vg-one")
open_vg_two = functools.partial(open, subset="vg-two")

ABOUT = {
    f"whatsup-{subset}": About(
        asks,
        f"whatsup-{subset}:FOLDER",
        WHERE_FROM,
        "not stated for the data (the code is MIT)",
        paper="What's Up, arXiv 2310.19785, asked as by AdaptVis, arXiv 2503.01773",
    )
    for subset, asks in {
        "a": "Where is one household thing in relation to another: left, right, on, under?",
        "b": "Where is one thing on a table in relation to another: left, right, front, behind?",
        "coco-one": "Where in the photo (COCO) is a thing: left, right, top, bottom?",
        "coco-two": "Where in the photo (COCO) is a thing in relation to another, of four ways?",
        "vg-one": "Where in the photo (Visual Genome) is a thing, of six places?",
        "vg-two": "Where in the photo (Visual Genome) is a thing in relation to another, of six "
        "ways?",
    }.items()
}
