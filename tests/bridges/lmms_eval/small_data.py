"""Tiny data sets in the columns of each task's own, with pictures that the pocket model knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from wheresight.stimuli.sources import open_source

SOURCE = open_source("pocket")
PAIRS = SOURCE.pairs()


def scene(*numbers: int) -> Picture.Image:
    """Emoji side by side."""
    canvas = Picture.new("RGB", (96 * len(numbers), 96), "white")
    for place, number in enumerate(numbers):
        tile = SOURCE.image(PAIRS[number].id).convert("RGB").resize((64, 64))
        canvas.paste(tile, (96 * place + 16, 16))
    return canvas


def caption(number: int) -> str:
    return PAIRS[number].caption


def write(folder: Path, rows: list[dict[str, Any]], pictures: tuple[str, ...] = ("image",)) -> None:
    """Rows as Parquet, as the hub holds them: pictures inside."""
    from datasets import Dataset, Image

    folder.mkdir(parents=True, exist_ok=True)
    table = Dataset.from_list(rows)
    for name in pictures:
        table = table.cast_column(name, Image())
    table.to_parquet(str(folder / "test-00000-of-00001.parquet"))


def pope(folder: Path) -> None:
    rows = []
    for n in range(4):
        for other, answer in ((n, "yes"), (n + 20, "no")):
            number = str(len(rows))
            question = f"Is there a {caption(other)} in the image?"
            rows.append(
                {
                    "id": number,
                    "question_id": number,
                    "question": question,
                    "answer": answer,
                    "image_source": f"picture{n}",
                    "image": scene(n),
                    "category": "random",
                }
            )
    write(folder, rows)


def mme(folder: Path) -> None:
    rows = []
    for n, category in enumerate(("existence", "count", "position", "color", "OCR")):
        for k in range(2):
            for other, answer in ((5 * k + n, "Yes"), (5 * k + n + 30, "No")):
                rows.append(
                    {
                        "question_id": f"{category}/{k:04}.png",
                        "image": scene(5 * k + n),
                        "question": f"Is there a {caption(other)}? Please answer yes or no.",
                        "answer": answer,
                        "category": category,
                    }
                )
    write(folder, rows)


def scienceqa_img(folder: Path) -> None:
    rows = [
        {
            "image": scene(n),
            "question": "Which of these is in the picture?",
            "choices": [caption(n + 40), caption(n)],
            "answer": 1,
            "hint": "" if n % 2 else "Look at the picture.",
            "task": "closed choice",
            "grade": "grade2",
            "subject": "natural science",
            "topic": "biology",
            "category": "things",
            "skill": "see",
            "lecture": "",
            "solution": "",
        }
        for n in range(3)
    ]
    write(folder, rows)


def crpe_relation(folder: Path) -> None:
    rows = [
        {
            "image": scene(n, n + 1),
            "text": f"What is left of the {caption(n + 1)}?\nA. {caption(n)}\nB. {caption(n + 7)}\n"
            "Please answer directly with only the letter of the correct option and nothing else.",
            "correct_option": "A",
            "category": "subject",
        }
        for n in range(3)
    ]
    write(folder, rows)


def hallusion_bench(folder: Path) -> None:
    rows = [
        {
            "category": "VD" if n < 2 else "VS",
            "subcategory": "figure",
            "visual_input": "1",
            "set_id": "0",
            "figure_id": str(n),
            "sample_note": "",
            "question_id": str(q),
            "question": f"Is there a {caption(n if q == 0 else n + 25)} in the picture?",
            "gt_answer_details": "It is." if q == 0 else "It is not.",
            "gt_answer": "1" if q == 0 else "0",
            "filename": f"./{n}.png",
            "image": scene(n),
        }
        for n in range(3)
        for q in range(2)
    ]
    write(folder, rows)


def mmmu_pro(folder: Path) -> None:
    """Two configurations, and a question with two pictures."""
    from datasets import Dataset, Features, Image, Value

    names = [f"image_{n}" for n in range(1, 8)]
    texts = ["id", "question", "options", "explanation", "img_type", "answer",
             "topic_difficulty", "subject"]  # fmt: skip
    features = Features(
        {**{name: Value("string") for name in texts}, **{name: Image() for name in names}}
    )
    for name, count in (("standard (4 options)", 4), ("standard (10 options)", 10)):
        rows = []
        for n in range(3):
            shown = 2 if n == 2 else 1
            pictures = [scene(n + k) if k < shown else None for k in range(7)]
            tags = " ".join(f"<image {k + 1}>" for k in range(shown))
            rows.append(
                {
                    "id": f"test_Art_{n}",
                    "question": f"{tags} What is shown?",
                    "options": repr([caption(n + k) for k in range(count)]),
                    "explanation": "",
                    "img_type": "['Photographs']",
                    "answer": "A",
                    "topic_difficulty": "Easy",
                    "subject": ("Art", "Biology", "Art")[n],
                    **dict(zip(names, pictures, strict=True)),
                }
            )
        below = folder / name
        below.mkdir(parents=True)
        table = Dataset.from_list(rows, features=features)
        table.to_parquet(str(below / "test-00000-of-00001.parquet"))


def gqa(folder: Path) -> None:
    """Questions and pictures in configurations of their own: lmms-eval's task loads both."""
    instructions = [
        {"id": str(n), "imageId": f"n{n % 2}", "question": "What is this?",
         "answer": caption(n % 2), "fullAnswer": "", "isBalanced": True}
        for n in range(3)
    ]  # fmt: skip
    pictures = [{"id": f"n{n}", "image": scene(n)} for n in range(2)]
    write(folder / "testdev_balanced_instructions", instructions, ())
    write(folder / "testdev_balanced_images", pictures)


def cv_bench(folder: Path) -> None:
    rows = [
        {
            "idx": n,
            "type": "2D",
            "task": "Relation",
            "image": scene(n, n + 1),
            "question": f"Where is the {caption(n)}?",
            "choices": ["left", "right"],
            "answer": "(A)",
            "prompt": f"Where is the {caption(n)}?\n(A) left\n(B) right",
            "filename": f"{n}.png",
            "source": "COCO",
            "source_dataset": "COCO",
        }
        for n in range(3)
    ]
    write(folder, rows)


# The folder of each, and what writes it. Derived tasks find that of the official one.
MADE: dict[str, Callable[[Path], None]] = {
    "pope": pope,
    "mme": mme,
    "scienceqa_img": scienceqa_img,
    "crpe_relation": crpe_relation,
    "hallusion_bench_image": hallusion_bench,
    "mmmu_pro_standard": mmmu_pro,
    "gqa": gqa,
    "cv_bench": cv_bench,
}
# Every task of the paper's tables, and three more.
TASKS = (
    "wheresight_mmmu_pro_4",
    "mmmu_pro_standard",
    "scienceqa_img",
    "crpe_relation",
    "wheresight_hallusion_bench",
    "wheresight_mme",
    "pope",
    "gqa",
    "cv_bench",
)


def write_all(folder: Path) -> None:
    for name, make in MADE.items():
        make(folder / name)


def write_vsr(folder: Path) -> None:
    """VSR's zero-shot test file and its pictures."""
    rows = []
    for n in range(4):
        name = f"{n:012}.jpg"
        place = folder / "images" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        scene(n, n + 1).save(place)
        said = n if n % 2 else n + 1
        rows.append(
            {
                "image": name,
                "image_link": f"http://images.cocodataset.org/val2017/{name}",
                "caption": f"The {caption(said)} is left of the {caption(n + 1)}.",
                "label": n % 2,
                "relation": "left of",
                "subj": caption(said),
                "obj": caption(n + 1),
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "zeroshot_test.jsonl").write_text(lines)


def write_whatsup(folder: Path) -> None:
    """WhatsUp A as published, two whole sets."""
    phrases = {"left_of": "to the left of", "right_of": "to the right of", "on": "on",
               "under": "under"}  # fmt: skip
    found = []
    for thing, place in (("mug", "chair"), ("bowl", "table")):
        for n, relation in enumerate(phrases):
            path = folder / "controlled_images" / f"{thing}_{relation}_{place}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            scene(n, n + 4).save(path)
            others = [relation, *(r for r in phrases if r != relation)]
            found.append(
                {
                    "image_path": f"data/controlled_images/{path.name}",
                    "caption_options": [f"A {thing} {phrases[r]} a {place}" for r in others],
                }
            )
    (folder / "controlled_images_dataset.json").write_text(json.dumps(found))
