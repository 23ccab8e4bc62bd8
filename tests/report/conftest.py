"""Made-up runs: a simulated observer whose sight and readiness to say Yes are known per cell."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from wheresight.runs.records import RECORD_SCHEMA
from wheresight.runs.results import Environment, Results
from wheresight.runs.summarise import summarise

NASTY = (
    "<script>alert(1)</script>",
    "{{7*7}} {% raw %}",
    "</style><img src=x onerror=a()>",
    "a\x1b[31m'\"&\u202eb",
)


@dataclass(frozen=True)
class Observer:
    """How one intervention answers: sensitivity and criterion of each cell, and oddities."""

    sensitivity: float | Sequence[float] = 2.0
    criterion: float | Sequence[float] = 0.0
    neither: float = 0.0


@dataclass(frozen=True)
class MadeUp:
    """Records and the results made of them."""

    records: pa.Table
    results: Results


def records(
    observers: dict[str, Observer],
    *,
    items: int = 40,
    rows: int = 3,
    columns: int = 3,
    protocol: str = "balanced",
    captions: Sequence[str] = (),
    seed: int = 0,
) -> pa.Table:
    """Draw the answers of simulated observers; the same item has the same noise for all of them."""
    random = np.random.default_rng(seed)
    cells = rows * columns
    questions = ("positive", "absent", "sibling") if protocol == "balanced" else ("positive",)
    found: dict[str, list[Any]] = {name: [] for name in RECORD_SCHEMA.names}
    for item in range(items):
        hard = random.normal() * 0.6
        own = captions[item] if item < len(captions) else f"a thing of kind {item}"
        for cell in range(cells):
            for question in questions:
                noise, odd = random.normal(), random.random()
                for name, observer in observers.items():
                    d, c = (
                        np.broadcast_to(x, cells)[cell]
                        for x in (observer.sensitivity, observer.criterion)
                    )
                    there = question == "positive"
                    margin = float((d / 2 if there else -d / 2) - c + 0.8 * noise + hard)
                    answer = (
                        "neither" if odd < observer.neither else ("yes" if margin > 0 else "no")
                    )
                    recipe = {
                        "background": "white", "canvas": [96, 96], "cell": cell, "columns": columns,
                        "distractors": [f"d{k}" for k in range(cells - 1)], "jitter": [0, 0],
                        "key": f"k{item}" + ("s" if question == "sibling" else ""),
                        "layout": "swap", "rows": rows, "seed": item, "tile": 20,
                    }  # fmt: skip
                    row = {
                        "item": f"item-{item:04d}", "key": f"k{item}", "cell": cell,
                        "question": question, "intervention": name,
                        "intervention_json": "[]", "expected": there,
                        "margin": margin, "answer": answer,
                        "caption": own if question != "absent" else f"another thing than {item}",
                        "argmax_id": 1,
                        "argmax_token": {"yes": "Yes", "no": "No"}.get(answer, "Perhaps"),
                        "text": None, "recipe": json.dumps(recipe, sort_keys=True), "unit": "u",
                    }  # fmt: skip
                    for key, value in row.items():
                        found[key].append(value)
    return pa.table(found, schema=RECORD_SCHEMA)


def made_up(
    observers: dict[str, Observer],
    *,
    replicates: int = 150,
    command: str = "wheresight probe --out demo",
    **kwargs: Any,
) -> MadeUp:
    """Records of simulated observers, and their results."""
    table = records(observers, **kwargs)
    rows, columns = kwargs.get("rows", 3), kwargs.get("columns", 3)
    results = summarise(
        table,
        configuration={
            "model": "pocket", "protocol": kwargs.get("protocol", "balanced"), "rows": rows,
            "columns": columns, "question": "Is {caption} there?", "source": "pocket", "seed": 0,
        },
        command=command,
        environment=Environment(
            date="2026-11-21T05:00:00+00:00", versions={"python": "3.11.7", "numpy": "2.0"},
            hardware={"machine": "x86_64", "cpus": 2}, seeds={"run": 0},
        ),
        replicates=replicates,
    )  # fmt: skip
    return MadeUp(table, results)


UNEVEN = (2.6, 2.4, 2.6, 1.8, 2.4, 2.0, 1.6, 1.2, 0.4)


@pytest.fixture(scope="session")
def typical() -> MadeUp:
    """Uneven as published; evened, with more false alarms, under bapa. Some captions are nasty."""
    return made_up(
        {"none": Observer(UNEVEN, 0.2), "bapa": Observer(2.4, -0.3)}, items=60, captions=NASTY
    )


@pytest.fixture(scope="session")
def published() -> MadeUp:
    """A run under the paper's protocol."""
    return made_up({"none": Observer(UNEVEN), "bapa": Observer(2.4, -0.5)}, protocol="paper")


@pytest.fixture(scope="session")
def yes_sayer() -> MadeUp:
    """bapa says Yes to everything."""
    return made_up({"none": Observer(2.0), "bapa": Observer(2.0, -9.0)})


@pytest.fixture(scope="session")
def stays_at_home() -> Callable[[str], None]:
    """Checks that a page asks for nothing, and runs no script but its own."""

    def check(page: str) -> None:
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
        data = [text for attributes, text in scripts if attributes == ' type="application/json"']
        ours = [text for attributes, text in scripts if not attributes]
        assert len(ours) == 1 and len(data) + 1 == len(scripts)
        assert all(isinstance(json.loads(text), dict) for text in data)
        digest = base64.b64encode(hashlib.sha256(ours[0].encode()).digest()).decode()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
        assert policy is not None and html.unescape(policy[1]) == (
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
            f"'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        )
        rest = re.sub(r'data:[^"]+', "", page)
        assert not re.search(r"url\((?!#)|@import|https?://", rest)

    return check


@pytest.fixture(scope="session")
def observer() -> type[Observer]:
    """The made-up model."""
    return Observer


@pytest.fixture(scope="session")
def make() -> Callable[..., MadeUp]:
    """The maker itself."""
    return made_up


@pytest.fixture(scope="session")
def draw() -> Callable[[str], Image.Image]:
    """A renderer: coloured squares, the key's one marked."""

    def render(recipe: str) -> Image.Image:
        given = json.loads(recipe)
        rows, columns = given["rows"], given["columns"]
        side = 240
        image = Image.new("RGB", (side, side), "white")
        pencil = ImageDraw.Draw(image)
        for cell in range(rows * columns):
            r, c = divmod(cell, columns)
            x, y, w, h = c * side / columns, r * side / rows, side / columns, side / rows
            hue = (37 * cell * (given["seed"] + 3)) % 360
            spot = (x + 0.1 * w, y + 0.1 * h, x + 0.9 * w, y + 0.9 * h)
            if cell == given["cell"]:
                pencil.regular_polygon((x + w / 2, y + h / 2, min(w, h) * 0.42), 5, fill="black")
            else:
                pencil.ellipse(spot, fill=f"hsl({hue}, 60%, 60%)")
        return image

    return render
