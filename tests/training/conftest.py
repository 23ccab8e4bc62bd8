"""Tiny models with their real processors, and conversations of every kind."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wheresight
from wheresight.training.collate import Collator
from wheresight.training.conversations import Conversation, conversation_of
from wheresight.training.lora import LoraOutcome, train_lora
from wheresight.training.request import LoraRequest

FAMILIES = ("llava", "llava_next", "qwen2_5_vl", "gemma3")

torch.set_num_threads(1)


@functools.cache
def _build() -> Any:
    path = Path(__file__).parents[1] / "lvlm" / "test_scoring.py"
    made = importlib.util.spec_from_file_location("families_to_train", path)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module.build


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """`tiny(family, side)`: a new tiny random LVLM, and a collator for it."""

    def make(family: str, side: str = "right", dtype: torch.dtype = torch.float64) -> Any:
        torch.manual_seed(0)
        model, processor = _build()(family)
        lvlm = wheresight.wrap(model.to(dtype).eval(), processor)
        image = lvlm.family.image_token(lvlm.core.config)
        stops = [processor.tokenizer.eos_token_id]
        return lvlm, Collator(processor, image, stops, dtype, side)

    return make


def picture(number: int) -> Image.Image:
    """Noise; even and odd numbers have other shapes."""
    shape = (64, 64, 3) if number % 2 == 0 else (64, 40, 3)
    noise = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(noise)


def llava(*turns: str, image: Any = None) -> dict[str, Any]:
    """A row in LLaVA's form: question, answer, question, ..."""
    sides = ("human", "gpt")
    row: dict[str, Any] = {
        "conversations": [{"from": sides[n % 2], "value": t} for n, t in enumerate(turns)]
    }
    return row if image is None else {**row, "image": image}


ROWS = (
    llava("<image>\nWhat is it?", "A cat", image="0.png"),
    llava("Hello", "Good morning to you", "And now?", "Nothing"),
    llava(
        "<image>\nFirst <image>\nsecond?", "Both", "And <image>?", "A third one",
        image=["1.png", "2.png", "3.png"],
    ),
    llava("Yes or no?\n<image>", "no", "Sure?", "Yes, quite", image="1.png"),
)  # fmt: skip


@pytest.fixture
def rows() -> list[Conversation]:
    """One picture; text alone; three pictures in two turns; a picture of another shape."""
    return [conversation_of(row, f"row {n}") for n, row in enumerate(ROWS)]


@pytest.fixture
def pictures_of() -> Callable[[Conversation], list[Image.Image]]:
    """The pictures of a conversation, by the numbers in their names."""
    return lambda one: [picture(int(str(name).partition(".")[0])) for name in one.pictures]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with `data.json` of all rows, twice, and `images/`."""
    return write(tmp_path)


def write(folder: Path) -> Path:
    (folder / "images").mkdir()
    for number in range(4):
        picture(number).save(folder / "images" / f"{number}.png")
    rows = [{"id": n, **row} for n, row in enumerate(ROWS * 2)]
    (folder / "data.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> LoraOutcome:
    """A training of the pocket model that was let run, under bapa."""
    return train_lora(asked(write(tmp_path_factory.mktemp("undisturbed"))))


@pytest.fixture
def request_(written: Path) -> LoraRequest:
    """The same training, in a folder of its own, not begun."""
    return asked(written)


def asked(folder: Path) -> LoraRequest:
    return LoraRequest(
        out=str(folder / "out"), data=str(folder / "data.json"), images=str(folder / "images"),
        intervention="bapa", rank=2, alpha=4, batch=4, epochs=3, learning_rate=0.02, device="cpu",
    )  # fmt: skip
