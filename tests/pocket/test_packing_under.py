"""Packed questions under an intervention are the same as single prompts under it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from wheresight import intervene
from wheresight.errors import ModelError
from wheresight.pocket.attention import plain_attention
from wheresight.pocket.intervened import hidden_states
from wheresight.pocket.language import PAPER, Question
from wheresight.pocket.model import build_model, build_processor, image_features, pixel_tensor
from wheresight.pocket.packing import hidden_states as alone
from wheresight.pocket.packing import pack
from wheresight.pocket.recipe import Recipe

QUESTIONS = [
    Question("is red apple", "Yes", "match"),
    Question(PAPER.format(caption="hot dog"), "No", "match"),
    Question("What is at the top left?", "the pizza", "at_cell"),
    Question("Where is pizza?", "top left", "where"),
]
SCHEMES = (
    "none", "bapa", "bapa_cross", "cca", "mca", "v2pe", "v2pe:span=8", "mrope_on_1d", "normalize",
    "bapa:layers=0-1", "mask:bidirectional", "mca+normalize",
)  # fmt: skip


@pytest.fixture(scope="module")
def untrained(things, tokenizer):
    recipe = Recipe(width=96, layers=3, mlp=160)
    model = build_model(recipe, tokenizer).eval()
    # Queries, keys and values as large as after training: else attention is nearly even, and
    # neither ids nor masks would show in the logits.
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                part.weight.normal_(0, 0.2)
    return model, build_processor(recipe, tokenizer)


def packed_logits(model, packed, pictures, spec):
    with torch.no_grad(), intervene(model, spec):
        features = image_features(model, pixel_tensor(pictures))
        return model.lm_head(hidden_states(model, packed, features))


def single_logits(model, processor, picture, question):
    """Of the places where the answer is read, from the stock processor and forward call."""
    words = [{"type": "image"}, {"type": "text", "text": question.text}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": words}], add_generation_prompt=True
    )
    inputs = processor(
        images=Image.fromarray(picture), text=prompt + question.answer, return_tensors="pt"
    )
    answer = processor.tokenizer(question.answer)["input_ids"]
    with torch.no_grad():
        return model(**inputs).logits[0, -len(answer) - 1 :]


def largest_difference(model, processor, spec, pictures, rows):
    packed = pack(rows, processor.tokenizer, 36)
    ours = packed_logits(model, packed, pictures, spec)
    largest = 0.0
    for number, questions in enumerate(rows):
        places = packed.labels[number].ge(0).nonzero()[:, 0].tolist()
        for question in questions:
            with intervene(model, spec):
                wanted = single_logits(model, processor, pictures[number], question)
            here, places = places[: len(wanted)], places[len(wanted) :]
            largest = max(largest, float((ours[number, here] - wanted).abs().max()))
        assert not places
    return largest


@pytest.mark.parametrize("spec", SCHEMES)
def test_packed_rows_equal_single_prompts(untrained, rng, spec):
    model, processor = untrained
    pictures = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    rows = [QUESTIONS, QUESTIONS[::-1][:2]]
    assert largest_difference(model, processor, spec, pictures, rows) < 2e-5


@pytest.mark.parametrize("spec", SCHEMES)
def test_plain_attention_gives_the_same(untrained, rng, spec):
    model, processor = untrained
    decoder = model.model.language_model
    pictures = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    packed = pack([QUESTIONS, QUESTIONS[::-1][:2]], processor.tokenizer, 36)
    answered = packed.labels >= 0
    fused = packed_logits(model, packed, pictures, spec)[answered]
    before = decoder.config._attn_implementation
    with plain_attention(decoder):
        assert decoder.config._attn_implementation == "eager"
        plain = packed_logits(model, packed, pictures, spec)[answered]
    assert decoder.config._attn_implementation == before == "sdpa"
    torch.testing.assert_close(plain, fused, atol=2e-5, rtol=0)


def test_plain_attention_is_undone_after_an_error(untrained):
    decoder = untrained[0].model.language_model
    with pytest.raises(KeyboardInterrupt), plain_attention(decoder):
        raise KeyboardInterrupt
    assert decoder.config._attn_implementation == "sdpa"


def test_several_tower_blocks_equal_single_prompts(things, tokenizer, rng):
    recipe = Recipe(width=96, layers=2, mlp=160)
    model = build_model(recipe, tokenizer)
    config = model.config
    config.vision_feature_layer = [3, 6]
    model = type(model)(config).eval()
    processor = build_processor(recipe, tokenizer)
    pictures = rng.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    for spec in ("normalize+multilayer:layers=3/6", "multilayer:layers=3/6+bapa"):
        assert largest_difference(model, processor, spec, pictures, [QUESTIONS]) < 2e-5


def test_schemes_differ_from_none_and_from_each_other(untrained, rng):
    model, processor = untrained
    pictures = rng.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    packed = pack([QUESTIONS], processor.tokenizer, 36)
    answered = packed.labels >= 0
    found = [packed_logits(model, packed, pictures, spec)[answered] for spec in SCHEMES[:9]]
    for n, one in enumerate(found):
        for other in found[:n]:
            assert float((one - other).abs().max()) > 1e-3


def test_without_a_block_it_is_the_decoder_alone(untrained, rng):
    model, processor = untrained
    pictures = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    packed = pack([QUESTIONS, QUESTIONS[:1]], processor.tokenizer, 36)
    with torch.no_grad():
        features = image_features(model, pixel_tensor(pictures))
        torch.testing.assert_close(
            hidden_states(model, packed, features), alone(model, packed, features), atol=0, rtol=0
        )


def test_gradients_are_those_of_single_prompts(untrained, rng):
    """A step on a packed row under a scheme is the mean of the steps on its questions."""
    model, processor = untrained
    pictures = rng.integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    weight = model.model.language_model.layers[1].self_attn.k_proj.weight

    def gradient(questions):
        packed = pack([questions], processor.tokenizer, 36)
        model.zero_grad()
        with intervene(model, "bapa_cross"):
            features = image_features(model, pixel_tensor(pictures)).detach()
            logits = model.lm_head(hidden_states(model, packed, features))
        wanted = packed.labels >= 0
        torch.nn.functional.cross_entropy(
            logits[wanted], packed.labels[wanted], reduction="sum"
        ).backward()
        return weight.grad.clone()

    whole = gradient(QUESTIONS)
    parts = sum(gradient([question]) for question in QUESTIONS)
    assert float(whole.abs().max()) > 1e-3
    torch.testing.assert_close(whole, parts, atol=2e-5, rtol=2e-4)


def test_another_architecture_is_refused(tokenizer):
    recipe = replace(Recipe(architecture="qwen2_5_vl"), width=96, layers=2)
    from wheresight.pocket.architectures import architecture
    from wheresight.pocket.tokenizer import train_tokenizer

    marks = architecture("qwen2_5_vl").marks
    model = build_model(recipe, train_tokenizer(["red apple"], 600, marks))
    packed = pack([QUESTIONS], tokenizer, 36)
    with pytest.raises(ModelError, match="one question a row"):
        hidden_states(model, packed, torch.zeros(1, 36, 96))
