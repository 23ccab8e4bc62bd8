"""Scoring with real processors of all four families: neither sharing nor order changes scores."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch
import transformers as tf
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Query, Scorer
from wheresight.lvlm.stills import stills_only
from wheresight.probes.questions import QUESTIONS, ask

NAMES = ("llava", "llava_next", "qwen2_5_vl", "gemma3")
SPECIAL = ("<pad>", "<s>", "</s>", "<image>", "<boi>", "<eoi>", "<video>")
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@functools.cache
def tokenizer() -> Any:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    inner.train_from_iterator([QUESTIONS["paper"], "Yes No yes no"] * 20, trainer)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={
            "image_token": "<image>",
            "boi_token": "<boi>",
            "eoi_token": "<eoi>",
            "video_token": "<video>",
        },
    )


def template(placeholder: str) -> str:
    return (
        "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + placeholder + "\n{% else %}{{ c['text'] }}{% endif %}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )


def clip(side: int) -> Any:
    return tf.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        patch_size=8,
    )


def build(name: str) -> tuple[Any, Any]:
    """A tiny random model of a family and its real processor."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.llava_next.image_processing_pil_llava_next import (
        LlavaNextImageProcessorPil,
    )
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    words = tokenizer()
    size, image = len(words), words.convert_tokens_to_ids("<image>")
    text = {**TEXT, "vocab_size": size}
    square = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    if name == "llava":
        model: Any = tf.LlavaForConditionalGeneration(
            tf.LlavaConfig(
                vision_config=clip(32), text_config=tf.LlamaConfig(**text), image_token_id=image
            )
        )
        processor: Any = tf.LlavaProcessor(
            image_processor=CLIPImageProcessorPil(**square),
            tokenizer=words,
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=template("<image>"),
        )
    elif name == "llava_next":
        pins = [[32, 64], [64, 32], [64, 64]]
        model = tf.LlavaNextForConditionalGeneration(
            tf.LlavaNextConfig(
                vision_config=clip(32),
                text_config=tf.MistralConfig(**text, sliding_window=None),
                image_grid_pinpoints=pins,
                image_token_id=image,
            )
        )
        processor = tf.LlavaNextProcessor(
            image_processor=LlavaNextImageProcessorPil(image_grid_pinpoints=pins, **square),
            tokenizer=words,
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=template("<image>"),
        )
    elif name == "qwen2_5_vl":
        model = tf.Qwen2_5_VLForConditionalGeneration(
            tf.Qwen2_5_VLConfig(
                text_config={
                    **text,
                    "rope_parameters": {
                        "rope_type": "default",
                        "rope_theta": 10000.0,
                        "mrope_section": [2, 3, 3],
                    },
                },
                vision_config={
                    "depth": 2,
                    "hidden_size": 32,
                    "intermediate_size": 48,
                    "num_heads": 2,
                    "out_hidden_size": 64,
                    "patch_size": 14,
                    "window_size": 56,
                    "fullatt_block_indexes": [1],
                },
                image_token_id=image,
                video_token_id=words.convert_tokens_to_ids("<video>"),
                vision_start_token_id=words.convert_tokens_to_ids("<boi>"),
                vision_end_token_id=words.convert_tokens_to_ids("<eoi>"),
            )
        )
        processor = stills_only(tf.Qwen2_5_VLProcessor)(
            image_processor=Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=84 * 84),
            tokenizer=words,
            video_processor=None,
            chat_template=template("<boi><image><eoi>"),
        )
    else:
        model = tf.Gemma3ForConditionalGeneration(
            tf.Gemma3Config(
                text_config={
                    **text,
                    "head_dim": 16,
                    "num_hidden_layers": 3,
                    "sliding_window": 16,
                    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                    "query_pre_attn_scalar": 16,
                },
                vision_config={
                    "hidden_size": 32,
                    "intermediate_size": 48,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "image_size": 32,
                    "patch_size": 8,
                },
                mm_tokens_per_image=4,
                image_token_id=image,
                boi_token_index=words.convert_tokens_to_ids("<boi>"),
                eoi_token_index=words.convert_tokens_to_ids("<eoi>"),
            )
        )
        processor = tf.Gemma3Processor(
            image_processor=Gemma3ImageProcessorPil(size={"height": 32, "width": 32}),
            tokenizer=_with_ids(words),
            image_seq_length=4,
            chat_template=template("<boi>"),
        )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for label, weight in model.named_parameters():
            if weight.ndim > 1:
                scale = 2.0 if "q_proj" in label or "k_proj" in label else 1.0
                weight.normal_(0, scale / weight.shape[-1] ** 0.5, generator=generator)
    return model.eval(), processor


def _with_ids(words: Any) -> Any:
    words.image_token_id = words.convert_tokens_to_ids("<image>")
    return words


@functools.cache
def lvlm_of(name: str) -> wheresight.LVLM:
    torch.manual_seed(0)
    return wheresight.wrap(*build(name))


def queries(count: int = 5) -> list[Query]:
    """Pictures of noise (of unlike shapes), with one to three questions of unlike lengths."""
    generator = torch.Generator().manual_seed(5)
    made = []
    for n in range(count):
        shape = (64, 64, 3) if n % 2 == 0 else (64, 40, 3)
        noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        captions = ["a cat", "the quick brown fox {x} jumps", "ü 漢字 <x> ok"][: 1 + n % 3]
        made.append(
            Query(
                Image.fromarray(noise.numpy()),
                tuple(ask(QUESTIONS["paper"], caption) for caption in captions),
            )
        )
    return made


def one_by_one(lvlm: wheresight.LVLM, spec: str, asked: list[Query]) -> list[tuple[float, int]]:
    """The plain way: processor and generate for each question alone."""
    scorer = Scorer(lvlm, batch_size=1)
    found = []
    for query in asked:
        for question in query.questions:
            inputs = lvlm.processor(
                text=[chat_prompt(lvlm.processor, question)],
                images=[[query.picture]],
                return_tensors="pt",
            )
            with torch.no_grad(), wheresight.intervene(lvlm, spec):
                out = lvlm.model.generate(
                    **inputs,
                    max_new_tokens=2,
                    do_sample=False,
                    return_dict_in_generate=True,
                    output_logits=True,
                )
            logits = out.logits[0]
            found.append((scorer.answers.margin(logits).item(), int(logits.argmax())))
    return found


METHODS = (
    "none",
    "bapa",
    "bapa_cross:layers=1",
    "cca",
    "mask:bidirectional",
    "scalingvis:3",
    "scalingvis:3,rows=text",
    "adaptvis:low=0.2,high=2.5,threshold=0.0035",
    "bapa+temperature:3",
    "pool:side=1",
    "drop:0.5",
    "permute+agci",
)


@pytest.mark.parametrize("spec", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_generate_one_by_one(name: str, spec: str) -> None:
    lvlm, asked = lvlm_of(name), queries()
    wanted = one_by_one(lvlm, spec, asked)
    ways = [Scorer(lvlm, batch_size=8, share_prefix=False), Scorer(lvlm, batch_size=8)]
    for scorer in ways:
        scored = scorer.score(scorer.encode(asked), spec)
        assert [a.margin for a in scored] == pytest.approx([m for m, _ in wanted], abs=2e-5)
        assert [a.argmax_id for a in scored] == [i for _, i in wanted]
    margins = [m for m, _ in wanted]
    assert max(margins) - min(margins) > 0.01, "a test that cannot tell questions apart"


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_does_not_hang_on_what_is_scored_beside_it(name: str) -> None:
    scorer = Scorer(lvlm_of(name), batch_size=7)
    encoded = scorer.encode(queries())
    specs = [*METHODS, "uac", "bapa+scalingvis:3", "scalingvis:1"]
    together = scorer.score_all(encoded, specs)
    alone = [scorer.score(encoded, spec) for spec in specs]
    assert together == alone
    backwards = scorer.score_all(encoded, specs[::-1])
    assert backwards[::-1] == together
    assert together[-1] == together[0]  # scaling by one is doing nothing
    texts = {tuple(a.margin for a in answers) for answers in together}
    # Gemma 3 is bidirectional by itself, and its 2 x 2 grid is a single ring.
    alike = {"gemma3": 2}.get(name, 0)
    assert len(texts) == len(specs) - 1 - alike, "methods that do not differ prove nothing"


@pytest.mark.parametrize("name", NAMES)
def test_bapa_changes_the_scores(name: str) -> None:
    scorer = Scorer(lvlm_of(name))
    encoded = scorer.encode(queries())
    plain, bapa = (scorer.score(encoded, spec) for spec in ("none", "bapa"))
    again = scorer.score(encoded, "none")
    assert max(abs(a.margin - b.margin) for a, b in zip(plain, bapa, strict=True)) > 1e-3
    assert plain == again


@pytest.mark.parametrize("name", NAMES)
def test_batch_size_and_order_do_not_matter(name: str) -> None:
    lvlm, asked = lvlm_of(name), queries(8)
    whole = Scorer(lvlm, batch_size=64)
    wanted = [a.margin for a in whole.score(whole.encode(asked), "bapa")]
    for size in (1, 3, 8):
        scorer = Scorer(lvlm, batch_size=size)
        got = [a.margin for a in scorer.score(scorer.encode(asked), "bapa")]
        assert got == pytest.approx(wanted, abs=2e-5)
    back = [a.margin for a in whole.score(whole.encode(asked[::-1]), "bapa")]
    starts = [0]
    for query in asked[::-1]:
        starts.append(starts[-1] + len(query.questions))
    unmixed = [m for s, e in reversed([*itertools.pairwise(starts)]) for m in back[s:e]]
    assert unmixed == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_generated_text_begins_with_the_argmax(name: str) -> None:
    scorer = Scorer(lvlm_of(name), batch_size=8)
    encoded = scorer.encode(queries())
    scored = scorer.score(encoded, "bapa")
    generated = scorer.generate(encoded, "bapa", max_new_tokens=3)
    assert [a.argmax_id for a in generated] == [a.argmax_id for a in scored]
    for a in generated:
        assert a.text is not None


@pytest.mark.parametrize("name", NAMES)
def test_only_image_features_are_kept_of_the_vision_tower(name: str) -> None:
    encoded = Scorer(lvlm_of(name)).encode(queries())
    assert list(encoded.features.keys()) == ["pooler_output"]


def test_a_caption_that_holds_the_image_placeholder_is_refused() -> None:
    scorer = Scorer(lvlm_of("llava"))
    asked = [Query(queries(1)[0].picture, ("is there an <image> here",))]
    with pytest.raises(ModelError, match="placeholder"):
        scorer.encode(asked)


def test_without_a_processor_or_with_a_bad_batch_size_it_says_so() -> None:
    lvlm = lvlm_of("llava")
    with pytest.raises(ModelError, match="without its processor"):
        Scorer(wheresight.wrap(lvlm.core))
    with pytest.raises(ModelError, match="expected 1 or more"):
        Scorer(lvlm, batch_size=0)


def test_a_picture_with_more_questions_than_a_batch_holds() -> None:
    lvlm = lvlm_of("llava")
    picture = queries(1)[0].picture
    asked = [Query(picture, tuple(f"is {n} here" for n in range(10)))]
    few, many = Scorer(lvlm, batch_size=4), Scorer(lvlm, batch_size=16)
    a, b = (s.score(s.encode(asked), "bapa") for s in (few, many))
    assert [x.margin for x in a] == pytest.approx([x.margin for x in b], abs=2e-5)
    assert len(a) == 10
