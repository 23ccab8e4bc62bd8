"""Rows and batches: what is learned, by published templates; one prompt for training and use."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from PIL import Image
from tokenizers.processors import TemplateProcessing

from wheresight.errors import ModelError, StimulusError
from wheresight.lvlm.preprocessing import Preprocessor, Query
from wheresight.skeletons.plan import plan
from wheresight.skeletons.words import build_processor
from wheresight.training.collate import IGNORED, Collator, joined
from wheresight.training.conversations import Conversation, Turn, conversation_of

PUBLISHED = Path(trl.__file__).parent / "chat_templates"
# In the form of the one that comes with LLaVA-1.5: no answer has an end, and marks leave it out.
LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
TALK = {
    "image": "a.png",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is it? ü 漢字"},
        {"from": "gpt", "value": "A cat: 猫."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes"},
    ],
}
# Skeleton, its template, the token that ends a turn, and what is learned of TALK.
CASES = {
    "llava": ("llava-1.5-7b", LLAVA, "</s>", [" A cat: 猫.</s>", " Yes</s>"]),
    "llava_next": ("llava-1.6-mistral-7b", "llava_next", "</s>", [" A cat: 猫.</s>", " Yes</s>"]),
    "qwen": (
        "qwen2.5-vl-7b", "qwen2_5_vl", "<|im_end|>", ["A cat: 猫.<|im_end|>", "Yes<|im_end|>"],
    ),
    "gemma": (
        "gemma-3-4b", "gemma3", "<end_of_turn>", ["A cat: 猫.<end_of_turn>", "Yes<end_of_turn>"],
    ),
}  # fmt: skip


def collator_of(case: str, **more: Any) -> Collator:
    """A published template and stock processor around stand-in words, ids of the real model."""
    processor, image = processor_of(case)
    stop = processor.tokenizer.convert_tokens_to_ids(CASES[case][2])
    return Collator(processor, image, [stop], torch.float32, **more)


@functools.cache
def processor_of(case: str) -> tuple[Any, int]:
    name, template, *_ = CASES[case]
    found = plan(f"skeleton:{name}")
    processor = build_processor(found)
    processor.chat_template = (
        template if template == LLAVA else (PUBLISHED / f"{template}.jinja").read_text("utf-8")
    )
    return processor, found.tokens["image_token"][1]


def picture(width: int = 60) -> Image.Image:
    return Image.linear_gradient("L").resize((width, 48)).convert("RGB")


def learned(collator: Collator, labels: list[int]) -> list[str]:
    """The texts of the stretches that are learned."""
    found: list[list[int]] = [[]]
    for label in labels:
        if label != IGNORED:
            found[-1].append(label)
        elif found[-1]:
            found.append([])
    return [collator.tokenizer.decode(part) for part in found if part]


@pytest.mark.parametrize("case", CASES)
def test_answers_are_learned_to_their_end_and_nothing_else(case: str) -> None:
    collator = collator_of(case)
    assert collator.end == ("</s>" if case == "llava" else "")
    row = collator.row(conversation_of(TALK, "row"), [picture()])
    assert learned(collator, row.labels) == CASES[case][3]
    assert all(label in (IGNORED, one) for label, one in zip(row.labels, row.ids, strict=True))
    placeholder = collator.image_id
    assert row.ids.count(placeholder) > 1
    assert placeholder not in row.labels
    if row.types:
        [types] = row.types.values()
        assert [t == 1 for t in types] == [one == placeholder for one in row.ids]


@pytest.mark.parametrize("case", CASES)
def test_training_begins_with_the_prompt_of_an_evaluation(case: str) -> None:
    """Also where the template writes the first token, and where the tokenizer does."""
    collator = collator_of(case)
    tokenizer = collator.tokenizer
    processor_of.cache_clear()  # its tokenizer is changed here
    if case != "qwen":  # whose tokenizer puts nothing before a text
        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos[0]} $A", special_tokens=[bos]
        )
    asked = Preprocessor(collator.processor, collator.image_id, torch.float32)(
        [Query(picture(), ("What is it?",))]
    )
    turns = (Turn("user", (None, "What is it?")), Turn("assistant", ("A cat",)))
    row = collator.row(Conversation("row", turns, ("a.png",)), [picture()])
    prompt = list(asked.rows[0].ids)
    assert row.ids[: len(prompt)] == prompt
    assert row.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert row.labels[len(prompt)] == row.ids[len(prompt)]
    if case != "qwen":
        assert prompt.count(tokenizer.bos_token_id) == 1
    for key, value in asked.images.items():
        assert torch.equal(row.pictures[key], value), key


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl", "gemma3"])
def test_a_batch_holds_its_rows_and_what_the_processor_makes_of_them(
    family: str, side: str, tiny: Any, rows: Any, pictures_of: Any
) -> None:
    _, collator = tiny(family, side)
    made = [collator.row(one, pictures_of(one)) for one in rows]
    batch = collator.batch(made)
    for n, row in enumerate(made):
        real = batch["attention_mask"][n].bool()
        assert batch["input_ids"][n][real].tolist() == row.ids
        assert batch["labels"][n][real].tolist() == row.labels
        assert bool((batch["labels"][n][~real] == IGNORED).all())
        assert real.tolist() == sorted(real.tolist(), reverse=side == "right")
    texts = [collator.written(one)[0] for one in rows]
    shown = [0, 2, 3]  # the stock processors want pictures in every row, or in none
    stock = collator.processor(
        text=[texts[n] for n in shown],
        images=[pictures_of(rows[n]) for n in shown],
        padding=True,
        padding_side=side,
        return_tensors="pt",
    )
    own = collator.batch([made[n] for n in shown])
    assert own.keys() - {"labels"} == stock.keys()
    for key, value in stock.items():
        assert torch.equal(own[key], value.to(own[key].dtype)), key
    text_alone = collator.batch([made[1], made[1]])
    assert not any(key.startswith(("pixel", "image")) for key in text_alone)


def test_smaller_parts_are_filled_up_with_zeros() -> None:
    got = joined([torch.ones(1, 2, 3), torch.ones(2, 1, 4)])
    assert got.shape == (3, 2, 4)
    assert got.sum() == 6 + 8
    assert torch.equal(got[1:, 1], torch.zeros(2, 4))


@pytest.mark.parametrize("case", CASES)
def test_a_placeholder_in_the_text_is_refused(case: str) -> None:
    collator = collator_of(case)
    spoken = {collator.tokenizer.convert_ids_to_tokens(collator.image_id)}
    spoken.add(collator.processor.image_token)
    for text in spoken:
        turns = (Turn("user", (None, f"What is {text}?")), Turn("assistant", ("A cat",)))
        with pytest.raises(StimulusError, match="own image placeholder"):
            collator.row(Conversation("Row 3", turns, ("a.png",)), [picture()])


def test_templates_that_lose_answers_are_refused() -> None:
    processor = build_processor(plan("skeleton:llava-1.5-7b"))  # it writes one question alone
    with pytest.raises(ModelError, match="does not write what the assistant says"):
        Collator(processor, 32000, [2], torch.float32)


def test_templates_that_rewrite_earlier_turns_are_refused(tiny: Any, rows: Any) -> None:
    """Such as those that drop what was thought before earlier answers."""
    _, collator = tiny("llava")
    collator.processor.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {% if loop.last or m['role'] == 'user' %}"
        "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
        "{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    with pytest.raises(ModelError, match="writes earlier turns differently"):
        collator.written(rows[1])


def test_a_picture_that_the_processor_refuses_is_told() -> None:
    collator = collator_of("qwen")
    turns = (Turn("user", (None, "?")), Turn("assistant", ("!",)))
    row, thin = Conversation("Row 7", turns, ("a.png",)), Image.new("RGB", (3000, 3))
    with pytest.raises(StimulusError, match=r"Row 7 is refused by the model's processor.*ratio"):
        collator.row(row, [thin])
