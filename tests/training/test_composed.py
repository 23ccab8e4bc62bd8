"""A LLaVA put together from tiny stock parts: their weights, their words, their pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

sys.path.insert(0, str(Path(__file__).parent))

import parts
from conftest import picture

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.loading import load
from wheresight.training.composed import compose
from wheresight.training.templates import PLAIN, with_pictures, with_template

PAIRS = [("clip", "llama"), ("siglip", "qwen2")]
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
    {"role": "user", "content": "So?"},
]
WRITTEN = {
    "llama": "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
    "USER: <image>\nWhat? ASSISTANT: A</s>USER: So? ASSISTANT:",
    "qwen2": "<|im_start|>user\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    "<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n",
}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stock")
    for name in ("clip", "siglip", "llama", "qwen2"):
        getattr(parts, name)(folder / name)
    return folder


def tower_of(stock: Path, vision: str) -> Any:
    whole = tf.AutoModel.from_pretrained(stock / vision)
    return getattr(whole, "vision_model", whole).eval()


@pytest.mark.parametrize(("vision", "language"), PAIRS)
def test_the_parts_are_what_they_were(vision: str, language: str, stock: Path) -> None:
    """Logits of a text, and what the projector is given of a picture, bit for bit."""
    card = compose(str(stock / vision), str(stock / language))
    lvlm = load(card, device="cpu")
    ids = torch.tensor([[5, 9, 20, 33]])
    with torch.no_grad():
        alone = tf.AutoModelForCausalLM.from_pretrained(stock / language)(ids).logits
        assert torch.equal(lvlm.model(input_ids=ids).logits[..., : alone.shape[-1]], alone)

        given: list[torch.Tensor] = []
        projector = lvlm.family.projector(lvlm.core)
        projector.register_forward_pre_hook(lambda module, args: given.append(args[0]))
        text = card.processor.apply_chat_template(TALK, add_generation_prompt=True)
        assert text == WRITTEN[language]
        inputs = card.processor(text=[text], images=[picture(0)], return_tensors="pt")
        assert (inputs["input_ids"] == lvlm.core.config.image_token_id).sum() == 9
        lvlm.model(**inputs)
        tower = tower_of(stock, vision)
        states = tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
    assert torch.equal(given[0], states[-2][:, 1:] if vision == "clip" else states[-2])


@pytest.mark.parametrize(("vision", "language"), PAIRS)
def test_the_whole_is_stock(vision: str, language: str, stock: Path, tmp_path: Path) -> None:
    card = compose(str(stock / vision), str(stock / language), layers=(1, 3))
    made = load(card, device="cpu")
    assert made.core.config.vision_feature_layer == [1, 3]
    assert made.core.model.multi_modal_projector.linear_1.in_features == 2 * 32
    made.core.save_pretrained(tmp_path)
    card.processor.save_pretrained(tmp_path)
    again = wheresight.load(str(tmp_path), device="cpu")
    a, b = made.core.state_dict(), again.core.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert again.processor.chat_template == card.processor.chat_template
    assert again.trained_under == "none"


def test_the_projector_is_drawn_by_the_seed(stock: Path) -> None:
    """With torch's own initial values: uniform within one over the root of the inputs."""
    cards = [compose(str(stock / "clip"), str(stock / "llama"), seed=seed) for seed in (0, 0, 1)]
    assert cards[0].revision == cards[1].revision != cards[2].revision
    a, b, c = (load(card, device="cpu").core.model.multi_modal_projector for card in cards)
    assert torch.equal(a.linear_1.weight, b.linear_1.weight)
    assert not torch.equal(a.linear_1.weight, c.linear_1.weight)
    for layer in (a.linear_1, a.linear_2):
        bound = layer.in_features**-0.5
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_tied_embeddings_stay_tied(stock: Path) -> None:
    tied = load(compose(str(stock / "siglip"), str(stock / "qwen2")), device="cpu").core
    assert tied.lm_head.weight is tied.get_input_embeddings().weight
    loose = load(compose(str(stock / "clip"), str(stock / "llama")), device="cpu").core
    assert loose.lm_head.weight is not loose.get_input_embeddings().weight
    # The row of <image> is near the mean of the others, so that it is hardly ever said.
    rows = loose.lm_head.weight.detach()
    assert (rows[-1] - rows[:-1].mean(0)).abs().max() < 0.02 * rows.std()


def test_a_picture_and_its_caption_alone(stock: Path) -> None:
    card = compose(str(stock / "clip"), str(stock / "llama"))
    plain = with_template(card.processor, PLAIN)
    talk = [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}, *TALK[:2]]
    assert plain.apply_chat_template(talk) == "<image>A\n"
    assert plain.apply_chat_template(talk[:2], add_generation_prompt=True) == "<image>"
    assert card.processor.chat_template != PLAIN


def test_templates_of_language_models_that_want_texts(stock: Path) -> None:
    """One that looks at the first message, and adds to it, as Llama's do."""
    own = (
        "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
        "{% set first = messages[0]['content'] %}{% else %}{% set rest = messages %}"
        "{% set first = 'none' %}{% endif %}{{ bos_token }}[{{ first }}]"
        "{% for m in rest %}{{ m['role'][0] + ':' + m['content'].strip() }};{% endfor %}"
    )
    processor = compose(str(stock / "clip"), str(stock / "llama"), chat_template=own).processor
    assert processor.chat_template == with_pictures(own)
    system = {"role": "system", "content": [{"type": "text", "text": "Be kind."}]}
    assert processor.apply_chat_template(TALK) == "<s>[none]u:<image>\nWhat?;a:A;u:So?;"
    assert processor.apply_chat_template([system, *TALK[2:]]) == "<s>[Be kind.]u:So?;"


def test_what_cannot_be_put_together(stock: Path, tmp_path: Path) -> None:
    clip, llama = str(stock / "clip"), str(stock / "llama")
    for vision, language, layers, says in (
        (llama, llama, None, "is no vision tower"),
        (clip, clip, None, "cannot be the language model"),
        (clip, llama, 5, "has hidden states 0 to 4, and state 5 was asked for"),
        (clip, llama, (1, 7), "and state 7 was asked for"),
        (clip, str(tmp_path / "nowhere"), None, "Unknown model"),
    ):
        with pytest.raises(ModelError, match=says):
            compose(vision, language, layers=layers)
    gpt2 = tf.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=50)
    tf.GPT2LMHeadModel(gpt2).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ModelError, match="with rotary positions"):
        compose(clip, str(tmp_path / "gpt2"))
    weights = Path(llama) / "model.safetensors"
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in Path(llama).iterdir():
        if file != weights:
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="could not be loaded"):
        load(compose(clip, str(bare)), device="cpu")
