"""Packed training sees what the stock model sees, for every architecture of the pocket family."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import wheresight
from wheresight.errors import WheresightError
from wheresight.pocket.architectures import ARCHITECTURES, architecture
from wheresight.pocket.evaluate import load_pocket
from wheresight.pocket.export import MOST_BYTES, save_folder
from wheresight.pocket.language import Question
from wheresight.pocket.model import (
    build_model,
    build_processor,
    image_features,
    pixel_tensor,
    word_length,
)
from wheresight.pocket.packing import hidden_states, pack
from wheresight.pocket.places import place_code, write_places
from wheresight.pocket.recipe import preset
from wheresight.pocket.scenes import sample_scene
from wheresight.pocket.tokenizer import train_tokenizer
from wheresight.pocket.train import parameter_counts
from wheresight.pocket.train_shapes import place_directions
from wheresight.pocket.train_tower import rescale_projector, vision_parameters

QUESTIONS = [
    Question("is pizza", "Yes", "match"),
    Question("Where is red apple?", "top left", "where"),
    Question("What is this?", "the pizza", "naming"),
]


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def made(request, things):
    recipe = preset("full", architecture=request.param)
    kind = architecture(request.param)
    tokenizer = train_tokenizer(things.names, recipe.vocabulary, kind.marks)
    model = build_model(recipe, tokenizer).eval()
    return recipe, kind, model, build_processor(recipe, tokenizer)


@pytest.fixture(scope="module")
def scenes(things):
    rng = np.random.default_rng(3)
    return [sample_scene(rng, things) for _ in range(2)]


def test_an_unknown_architecture():
    with pytest.raises(WheresightError, match="gemma3"):
        architecture("gema3")


def test_packed_logits_are_those_of_separate_prompts(made, scenes):
    recipe, kind, model, processor = made
    pixels = pixel_tensor(np.stack([scene.pixels for scene in scenes]))
    with torch.no_grad():
        features = image_features(model, pixels)
        assert features.shape == (2, 36, 256)
        packed = pack([QUESTIONS, QUESTIONS], processor.tokenizer, recipe.image_tokens, kind=kind)
        logits = model.lm_head(hidden_states(model, packed, features))
        for row, scene in enumerate(scenes):
            firsts = _first_answer_columns(packed.labels[row], processor.tokenizer.eos_token_id)
            for question, column in zip(QUESTIONS, firsts, strict=True):
                parts = [{"type": "image"}, {"type": "text", "text": question.text}]
                prompt = processor.apply_chat_template(
                    [{"role": "user", "content": parts}], add_generation_prompt=True
                )
                picture = Image.fromarray(scene.pixels)
                inputs = processor(images=[picture], text=[prompt], return_tensors="pt")
                alone = model(**inputs).logits[0, -1]
                torch.testing.assert_close(logits[row, column], alone, rtol=1e-4, atol=2e-5)


def _first_answer_columns(labels: torch.Tensor, end: int) -> list[int]:
    found, inside = [], False
    for column, label in enumerate(labels.tolist()):
        if label >= 0 and not inside:
            found.append(column)
        inside = label >= 0 and label != end
    return found


def test_conversations_are_those_of_the_stock_model(made, scenes):
    recipe, kind, model, processor = made
    with torch.no_grad():
        features = image_features(model, pixel_tensor(scenes[0].pixels[None]))
        packed = pack(
            [QUESTIONS], processor.tokenizer, recipe.image_tokens, multi_turn=True, kind=kind
        )
        logits = model.lm_head(hidden_states(model, packed, features))[0]
        turns = []
        for n, question in enumerate(QUESTIONS):
            parts = [{"type": "image"}] if n == 0 else []
            turns.append(
                {"role": "user", "content": [*parts, {"type": "text", "text": question.text}]}
            )
            if n + 1 < len(QUESTIONS):
                turns.append(
                    {"role": "assistant", "content": [{"type": "text", "text": question.answer}]}
                )
        prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
        inputs = processor(
            images=[Image.fromarray(scenes[0].pixels)], text=[prompt], return_tensors="pt"
        )
        alone = model(**inputs).logits[0, -1]
    last = inputs["input_ids"].shape[1] - 1
    assert packed.ids[0, : last + 1].tolist() == inputs["input_ids"][0].tolist()
    torch.testing.assert_close(logits[last], alone, rtol=1e-4, atol=2e-5)


def test_places_are_written_and_lengths_restored(made, things, monkeypatch):
    """After it, the mean token of each place lies where the code says, in four directions."""
    recipe, _, model, _ = made
    rescale_projector(model, things, recipe)
    error = write_places(model, things, recipe)
    rng = np.random.default_rng(4)
    scenes = [sample_scene(rng, things) for _ in range(48)]
    with torch.no_grad():
        features = image_features(model, pixel_tensor(np.stack([s.pixels for s in scenes])))
    lengths = features.norm(dim=-1).mean()
    assert 0.7 < lengths / word_length(model) < 1.4
    basis = place_directions(features)
    torch.testing.assert_close(basis.T @ basis, torch.eye(4), atol=1e-4, rtol=0)
    written = features.mean(0) @ basis
    code = place_code(6).float()
    left = code - torch.linalg.lstsq(written, code).solution.T.matmul(written.T).T
    assert left.square().mean() < max(0.35, 2 * error)


def test_every_part_is_counted_and_trained_once(made):
    _, _, model, _ = made
    counts = parameter_counts(model)
    named = vision_parameters(model)
    assert len({id(p) for _, p in named}) == len(named)
    vision = sum(p.numel() for _, p in named)
    decoder = sum(p.numel() for p in model.model.language_model.parameters())
    assert vision + decoder == counts["all"] and counts["decoder"] == decoder


def test_a_saved_folder_loads_and_answers(made, scenes, tmp_path):
    recipe, kind, model, processor = made
    training = {
        "recipe": recipe.to_dict(), "names": {"emoji": 419, "all": 451}, "place_error": 0.1,
        "parameters": parameter_counts(model), "curves": {},
        "seconds": {"tower": 1.0, "decoder": 1.0, "shapes": 1.0, "all": 3.0},
    }  # fmt: skip
    folder = tmp_path / "model"
    save_folder(model, processor, folder, training)
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= MOST_BYTES
    assert kind.about.split(":")[0] in (folder / "README.md").read_text()
    pocket = load_pocket(folder, things=object())
    assert pocket.size == (96, 16) and pocket.kind is kind
    pictures = [Image.fromarray(scene.pixels) for scene in scenes]
    pixels = pixel_tensor(np.stack([scene.pixels for scene in scenes]))
    torch.testing.assert_close(
        pocket.looked_at(pictures), pocket.seen(pixels), rtol=1e-4, atol=1e-4
    )
    lvlm = wheresight.load(str(folder))
    with wheresight.intervene(lvlm, "bapa"):
        assert lvlm.model is not None
    assert json.loads((folder / "config.json").read_text())["model_type"] == kind.name
