"""The shipped folder: stock classes, stated size, and a reduced form of its bars."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from wheresight.pocket import model_folder
from wheresight.pocket.card import render_card
from wheresight.pocket.emoji import decode, read_rows
from wheresight.pocket.evaluate import evaluate_grids, evaluate_tasks, load_pocket
from wheresight.pocket.export import MOST_BYTES
from wheresight.pocket.language import PAPER, SHORT_MATCH
from wheresight.pocket.recipe import Recipe


@pytest.fixture(scope="module")
def pocket(things):
    return load_pocket(model_folder(), things)


def test_the_weights_fit_and_the_defaults_are_their_recipe():
    assert sum(path.stat().st_size for path in model_folder().glob("*.safetensors")) <= MOST_BYTES
    training = json.loads((model_folder() / "training.json").read_text())
    assert training["recipe"] == Recipe().to_dict()
    assert (model_folder() / "README.md").read_text() == render_card(training)


def test_stock_classes_in_float32(pocket):
    assert type(pocket.model).__name__ == "LlavaForConditionalGeneration"
    assert type(pocket.processor).__name__ == "LlavaProcessor"
    assert pocket.model.dtype == torch.float32
    from transformers import AutoModelForImageTextToText

    assert AutoModelForImageTextToText.from_pretrained(model_folder()).dtype == torch.float32


def test_it_generates_a_name_and_a_yes(pocket):
    row = next(row for row in read_rows() if row["caption"] == "pizza")
    picture = Image.new("RGB", (96, 96), "white")
    tile = decode(row).resize((48, 48))
    picture.paste(tile, (24, 24), tile)
    said = []
    for text in ("What is this?", PAPER.format(caption="pizza")):
        words = [{"type": "image"}, {"type": "text", "text": text}]
        prompt = pocket.processor.apply_chat_template(
            [{"role": "user", "content": words}], add_generation_prompt=True
        )
        inputs = pocket.processor(images=picture, text=prompt, return_tensors="pt")
        ids = pocket.model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
        said.append(pocket.processor.decode(ids, skip_special_tokens=True).strip())
    assert said == ["the pizza", "Yes"]


@pytest.mark.parametrize("wording", [SHORT_MATCH, PAPER], ids=["short", "paper"])
def test_it_matches_on_grids(pocket, wording):
    grid = evaluate_grids(pocket, 24, wording, seed=11)
    assert grid["balanced_accuracy"] >= 0.88
    assert grid["auc_mean"] >= 0.95


def test_it_does_its_tasks(pocket):
    table = evaluate_tasks(pocket, 96, long_share=0.5, seed=11)
    for task, floor in {"relation": 0.8, "at_cell": 0.8, "naming": 0.85}.items():
        assert table[task]["accuracy"] >= floor, (task, table[task])
