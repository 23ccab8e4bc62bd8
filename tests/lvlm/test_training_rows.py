"""Rows for training in the families beside those of the paper: labels, and batches of them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from by_rows import adapted, is_the_sum
from test_processors import picture, processor_of

import wheresight
from wheresight.training.collate import IGNORED, Collator
from wheresight.training.conversations import conversation_of

IMAGE, END = 90, 2  # of the tiny models and their words
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def talk(asked: str, answer: str, *images: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, "image": list(images) or None}


ROWS = (
    talk("<image> w5 <image> w6", "w7 w8", "wide", "square"),
    talk("w5", "w7"),
    talk("<image> w6", "w9", "wide"),
)
SIZES = {"wide": (16, 24), "square": (16, 16)}


@pytest.mark.parametrize("which", ["onevision", "qwen2", "qwen3", "internvl", "idefics"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_is_the_sum_of_its_rows(which: str, side: str, make_model: Any) -> None:
    """Under bapa, LoRA gradients of rows with two pictures, none, and one."""
    processor = processor_of(which)
    processor.chat_template = TEMPLATE
    collator = Collator(processor, IMAGE, [END], torch.float64, side)
    assert collator.end == "</s>"
    made = []
    for row, learned in zip(ROWS, ([7, 8, END], [7, END], [9, END]), strict=True):
        one = conversation_of(row, "row")
        found = collator.row(one, [picture(*SIZES[str(name)]) for name in one.pictures])
        assert [label for label in found.labels if label != IGNORED] == learned
        # The tiny vocabulary has no words for rows and columns of tiles.
        made.append(dataclasses.replace(found, ids=[n if n < 99 else 4 for n in found.ids]))
    lvlm = wheresight.wrap(make_model(which, torch.float64), processor)
    is_the_sum(adapted(lvlm), collator, made, "bapa", 1e-5)
