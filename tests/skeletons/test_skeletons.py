"""Skeletons: the published shapes on the meta device, stand-in words, random weights, a probe."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from PIL import Image

from wheresight.errors import ModelError
from wheresight.lvlm.loading import look_up
from wheresight.lvlm.prompts import chat_prompt
from wheresight.probes.questions import QUESTIONS, ask
from wheresight.skeletons import CAUTION, QUARTER, build, is_skeleton, names
from wheresight.skeletons.plan import plan, quarter
from wheresight.skeletons.words import build_processor, build_tokenizer

# Billions of parameters as the hub counts them, biases, towers and tied weights counted once.
PUBLISHED = {
    "skeleton:llava-1.5-7b": 7.06,
    "skeleton:llava-1.6-mistral-7b": 7.57,
    "skeleton:llava-next-llama3-8b": 8.36,
    "skeleton:qwen2.5-vl-7b": 8.29,
    "skeleton:qwen2.5-vl-32b": 33.45,
    "skeleton:gemma-3-4b": 4.30,
    "skeleton:gemma-3-12b": 12.19,
}
# One of each family, the side of the picture that the paper's composites have there, image tokens.
TOKENS = {
    "skeleton:llava-1.5-7b": (336, 576),
    "skeleton:llava-1.6-mistral-7b": (840, 2928),
    "skeleton:qwen2.5-vl-7b": (840, 900),
    "skeleton:gemma-3-4b": (896, 256),
}


def on_meta(name: str) -> Any:
    return build.on_meta(build.build_config(name), torch.bfloat16)


def test_every_model_of_the_paper_is_there_at_two_sizes() -> None:
    assert set(names()) == {name + size for name in PUBLISHED for size in ("", QUARTER)}
    assert all(map(is_skeleton, names()))
    assert not is_skeleton("pocket")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_parameters_are_those_of_the_published_model(name: str) -> None:
    model = on_meta(name)
    assert type(model).__module__.startswith("transformers.")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    count = sum(p.numel() for p in model.parameters())
    assert count == pytest.approx(PUBLISHED[name] * 1e9, rel=0.02)
    assert count == plan(name).parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_quarter_has_a_quarter_of_width_heads_and_layers(name: str) -> None:
    full, small = build.build_config(name), build.build_config(name + QUARTER)
    for part in ("vision_config", "text_config"):
        a, b = getattr(full, part), getattr(small, part)
        assert b.hidden_size * 4 == a.hidden_size
        assert b.intermediate_size * 4 == a.intermediate_size
        assert b.num_attention_heads * 4 == a.num_attention_heads
        assert abs(b.num_hidden_layers * 4 - a.num_hidden_layers) <= 2
        assert b.hidden_size % b.num_attention_heads == 0
    text, little = full.text_config, small.text_config
    assert little.num_key_value_heads == max(1, text.num_key_value_heads // 4)
    assert little.vocab_size == text.vocab_size
    assert set(getattr(little, "layer_types", ())) == set(getattr(text, "layer_types", ()))
    big, less = (on_meta(n).model.language_model.layers for n in (name, name + QUARTER))
    assert big[0].self_attn.head_dim == less[0].self_attn.head_dim
    # Layers weigh a sixty-fourth; what the vocabulary has is a quarter of its width.
    weight = [sum(p.numel() for p in layers.parameters()) for layers in (big, less)]
    assert 1 / 80 < weight[1] / weight[0] < 1 / 50


@pytest.mark.parametrize("size", ["", QUARTER])
@pytest.mark.parametrize("name", TOKENS)
def test_pictures_become_as_many_tokens_as_published(name: str, size: str) -> None:
    card = look_up(name + size)
    side, count = TOKENS[name]
    assert card.picture_size == (None if side == 840 else side)
    text = chat_prompt(card.processor, ask(QUESTIONS["paper"], "a red apple"))
    picture = Image.new("RGB", (side, side), "teal")
    inputs = card.processor(text=[text], images=[[picture]], return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    placeholder = plan(name).tokens["image_token"][1]
    assert ids.count(placeholder) == count
    # The question is about as long as with real words: 42 words and signs.
    assert 40 <= len(ids) - count <= 100


@pytest.mark.parametrize("name", TOKENS)
def test_stand_in_words(name: str) -> None:
    facts = plan(name)
    words = build_tokenizer(facts)
    assert len(words) == facts.vocabulary == len(set(words.get_vocab().values()))
    for text, number in [*facts.tokens.values(), *facts.others]:
        assert words.convert_tokens_to_ids(text) == number
        assert words.encode(text, add_special_tokens=False) == [number]
    plain = 'Ein Bär: "Yes"? <unused9> No — 是\n'
    ids = words.encode(plain, add_special_tokens=False)
    assert words.decode(ids) == plain
    reserved = {number for _, number in [*facts.tokens.values(), *facts.others]}
    assert not reserved & set(ids)
    assert not any(token.startswith("<unused") for token in words.convert_ids_to_tokens(ids))


def test_the_prompt_is_the_published_one() -> None:
    said = {name: chat_prompt(build_processor(plan(name)), 'Is "it"\nthere?') for name in TOKENS}
    assert said == {
        "skeleton:llava-1.5-7b": '<s>USER: <image>\nIs "it"\nthere? ASSISTANT:',
        "skeleton:llava-1.6-mistral-7b": '<s>[INST] <image>\nIs "it"\nthere? [/INST]',
        "skeleton:qwen2.5-vl-7b": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        '<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Is "it"\nthere?'
        "<|im_end|>\n<|im_start|>assistant\n",
        "skeleton:gemma-3-4b": '<bos><start_of_turn>user\n<start_of_image>Is "it"\nthere?'
        "<end_of_turn>\n<start_of_turn>model\n",
    }


def tiny(name: str) -> Any:
    """The configuration of a family with a quarter of the quarter and few words."""
    import transformers

    config = plan(name + QUARTER).config
    for part in ("vision_config", "text_config"):
        config[part] = quarter(config[part])
    config["text_config"] |= {"vocab_size": 512, "num_hidden_layers": 6}
    config["text_config"] |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.AutoConfig.for_model(**config)


@pytest.mark.parametrize("name", TOKENS)
def test_weights_are_made_as_transformers_makes_them(name: str) -> None:
    import transformers

    cpu = torch.device("cpu")
    state = torch.get_rng_state()
    made = build.materialise(build.on_meta(tiny(name), torch.bfloat16), cpu)
    again = build.materialise(build.on_meta(tiny(name), torch.bfloat16), cpu)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(0)
    stock = transformers.AutoModelForImageTextToText.from_config(
        tiny(name), dtype=torch.bfloat16
    ).eval()
    buffers = dict(stock.named_buffers())
    assert {n for n, _ in made.named_buffers()} == set(buffers)
    for n, buffer in made.named_buffers():
        assert torch.equal(buffer, buffers[n]), n
    copies, weights = dict(again.named_parameters()), dict(stock.named_parameters())
    assert {n for n, _ in made.named_parameters()} == set(weights)
    for n, weight in made.named_parameters():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, copies[n]), n
        drawn, expected = weight.detach().float(), weights[n].detach().float()
        # Two draws of one distribution: six standard errors of their difference.
        std, count = float(expected.std(correction=0)), expected.numel()
        near = 6 * std * (2 / count) ** 0.5 + 1e-6
        assert float(drawn.mean()) == pytest.approx(float(expected.mean()), abs=near), n
        assert float(drawn.std(correction=0)) == pytest.approx(std, rel=0.02, abs=near), n
    tied = made.config.tie_word_embeddings
    assert (made.get_input_embeddings().weight is made.get_output_embeddings().weight) == tied


def test_a_revision_names_what_decides_the_answers() -> None:
    revisions = {plan(name).revision for name in names()}
    assert len(revisions) == len(names())
    assert all(r.startswith("skeleton-") for r in revisions)
    assert plan("skeleton:gemma-3-4b").revision == look_up("skeleton:gemma-3-4b").revision


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("skeleton:llava-1.5-8b", "Did you mean 'skeleton:llava-1.5-7b'"),
        ("skeleton:../plan", "Unknown skeleton 'skeleton:../plan'"),
        ("skeleton:", "Unknown skeleton 'skeleton:'"),
    ],
)
def test_unknown_skeletons(name: str, sentence: str) -> None:
    with pytest.raises(ModelError) as raised:
        look_up(name)
    assert sentence in str(raised.value)


def test_one_that_does_not_fit_is_refused_before_it_is_made(monkeypatch: Any) -> None:
    monkeypatch.setattr(build, "_free", lambda device: 20_000_000_000)
    with pytest.raises(ModelError) as raised:
        build.build_model("skeleton:llava-1.5-7b", dtype=torch.float32, device=torch.device("cpu"))
    assert "take 28.3 GB in this dtype, but cpu has 20.0 GB free" in str(raised.value)
    assert "skeleton:llava-1.5-7b-quarter" in str(raised.value)


def test_a_probe_runs_to_the_end_and_says_that_it_means_nothing(tmp_path: Any) -> None:
    from wheresight.report.cautions import cautions
    from wheresight.runs.grid_run import run_grid
    from wheresight.runs.request import GridRequest

    request = GridRequest(
        out=str(tmp_path / "run"),
        model="skeleton:llava-1.5-7b-quarter",
        items=2,
        grid="1x2",
        protocol="paper",
        question="short",
        dtype="bfloat16" if torch.cuda.is_available() else "float32",
        replicates=100,
    )
    outcome = run_grid(request)
    assert outcome.results is not None
    (none,) = outcome.results.interventions
    assert none.warnings[0] == CAUTION
    assert cautions(outcome.results)[0].text == CAUTION
    assert CAUTION.split(":")[0] in (tmp_path / "run" / "report.html").read_text()
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["identity"]
    assert kept["model_revision"] == plan(request.model).revision
    assert (kept["canvas"], kept["tile"]) == (336, 168)
