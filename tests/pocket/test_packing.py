"""Packed questions are the same as separate prompts through the stock processor and model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from wheresight.pocket.language import PAPER, Question
from wheresight.pocket.model import build_model, build_processor, image_features, pixel_tensor
from wheresight.pocket.packing import hidden_states, pack
from wheresight.pocket.recipe import Recipe

QUESTIONS = [
    Question("is red apple", "Yes", "match"),
    Question(PAPER.format(caption="hot dog"), "No", "match"),
    Question("What is at the top left?", "the pizza", "at_cell"),
]


@pytest.fixture(scope="module")
def untrained(things, tokenizer):
    recipe = Recipe()
    return build_model(recipe, tokenizer).eval(), build_processor(recipe, tokenizer)


def test_parallel_questions_equal_single_prompts(untrained, rng):
    model, processor = untrained
    pictures = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    packed = pack([QUESTIONS, QUESTIONS[::-1]], processor.tokenizer, 36)
    with torch.no_grad():
        features = image_features(model, pixel_tensor(pictures))
        logits = model.lm_head(hidden_states(model, packed, features))
    for row, questions in enumerate([QUESTIONS, QUESTIONS[::-1]]):
        places = packed.labels[row].ge(0).nonzero()[:, 0].tolist()
        for question in questions:
            words = [{"type": "image"}, {"type": "text", "text": question.text}]
            prompt = processor.apply_chat_template(
                [{"role": "user", "content": words}], add_generation_prompt=True
            )
            inputs = processor(
                images=Image.fromarray(pictures[row]),
                text=prompt + question.answer,
                return_tensors="pt",
            )
            with torch.no_grad():
                single = model(**inputs).logits[0]
            answer = processor.tokenizer(question.answer)["input_ids"]
            ours = logits[row, places[: len(answer) + 1]]
            del places[: len(answer) + 1]
            torch.testing.assert_close(ours, single[-len(answer) - 1 :], atol=1e-4, rtol=1e-4)
        assert not places


def test_several_turns_equal_the_chat_template(untrained, rng):
    model, processor = untrained
    picture = rng.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    packed = pack([QUESTIONS], processor.tokenizer, 36, multi_turn=True)
    turns = []
    for index, question in enumerate(QUESTIONS):
        image = [{"type": "image"}] if index == 0 else []
        words = [*image, {"type": "text", "text": question.text}]
        turns.append({"role": "user", "content": words})
        turns.append({"role": "assistant", "content": question.answer})
    text = processor.apply_chat_template(turns)
    inputs = processor(images=Image.fromarray(picture[0]), text=text, return_tensors="pt")
    length = inputs["input_ids"].shape[1]
    assert packed.ids[0, :length].tolist() == inputs["input_ids"][0].tolist()
    with torch.no_grad():
        features = image_features(model, pixel_tensor(picture))
        ours = model.lm_head(hidden_states(model, packed, features))[0, :length]
        torch.testing.assert_close(ours, model(**inputs).logits[0], atol=1e-4, rtol=1e-4)


def test_labels_are_the_next_tokens(tokenizer):
    packed = pack([QUESTIONS], tokenizer, 36)
    wanted = packed.labels[0][packed.labels[0] >= 0].tolist()
    texts = "".join(question.answer + tokenizer.eos_token for question in QUESTIONS)
    assert tokenizer.decode(wanted) == texts
    assert packed.yes_no.sum() == 2
