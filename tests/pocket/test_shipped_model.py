"""The shipped folder: stock classes, stated size, and a reduced form of its bars."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from wheresight.lvlm.loading import resolve
from wheresight.pocket import NAMES, model_folder
from wheresight.pocket.card import render_card
from wheresight.pocket.emoji import decode, read_rows
from wheresight.pocket.evaluate import bars, evaluate_grids, evaluate_tasks, load_pocket
from wheresight.pocket.export import MOST_BYTES
from wheresight.pocket.language import PAPER, SHORT_MATCH
from wheresight.pocket.recipe import preset

CLASSES = {"pocket": "Llava", "pocket-qwen": "Qwen2_5_VL", "pocket-gemma": "Gemma3"}


@pytest.fixture(scope="module", params=list(NAMES))
def folder(request):
    assert resolve(request.param) == str(model_folder(request.param))
    return model_folder(request.param)


@pytest.fixture(scope="module")
def pocket(folder, things):
    return load_pocket(folder, things)


def test_the_weights_fit_and_the_defaults_are_their_recipe(folder):
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= MOST_BYTES
    training = json.loads((folder / "training.json").read_text())
    recipe = training["recipe"]
    family = preset("full", architecture=recipe["architecture"])
    assert recipe == replace(family, threads=recipe["threads"]).to_dict()
    assert (folder / "README.md").read_text() == render_card(training)


def test_every_bar_was_met_when_it_was_measured(folder):
    measured = json.loads((folder / "training.json").read_text())["evaluation"]
    assert measured["bars"] == bars(measured)
    assert all(bar["met"] for bar in measured["bars"].values())


def test_stock_classes_in_float32(folder, pocket):
    name = CLASSES[next(name for name in NAMES if model_folder(name) == folder)]
    assert type(pocket.model).__name__ == f"{name}ForConditionalGeneration"
    assert type(pocket.processor).__name__ == f"{name}Processor"
    assert pocket.model.dtype == torch.float32
    from transformers import AutoModelForImageTextToText

    assert AutoModelForImageTextToText.from_pretrained(folder).dtype == torch.float32


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
