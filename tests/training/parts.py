"""Tiny stock vision towers and language models, as folders of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

SIDE, PATCH, BLOCKS = 24, 8, 4  # 3 x 3 image tokens
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
    "+ message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tokenizer(*special: str, **named: str) -> Any:
    """Single bytes, the answers of a probe, and the special tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, vocab_size=256))
    made.add_tokens([AddedToken(word, normalized=False) for word in ("Yes", "No")])
    made.add_special_tokens([AddedToken(text, special=True) for text in special])
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _tower(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": BLOCKS,
        "num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH, **more,
    }  # fmt: skip


def _text(size: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": size, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024, **more,
    }  # fmt: skip


def _lively(model: Any) -> Any:
    """Weights at which logits hang on everything."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, weight.shape[-1] ** -0.5, generator=generator)
            if "embed_tokens" in name:
                weight.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def clip(folder: Path) -> Path:
    """A whole CLIP, text tower and all, as CLIP is published."""
    config = tf.CLIPConfig(
        vision_config=_tower(),
        text_config=_text(50, bos_token_id=1, eos_token_id=2, pad_token_id=0),
        projection_dim=16,
    )
    _lively(tf.CLIPModel(config)).save_pretrained(folder)
    side = {"height": SIDE, "width": SIDE}
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=side).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    """A SigLIP's vision tower alone."""
    config = tf.SiglipVisionConfig(**_tower(vision_use_head=False))
    _lively(tf.SiglipVisionModel(config)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    """A Llama whose tokenizer has no chat template, no token for padding, and no row to spare."""
    words = tokenizer("<unk>", "<s>", "</s>", unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    ids = {name: words.convert_tokens_to_ids(text) for name, text in
           (("bos_token_id", "<s>"), ("eos_token_id", "</s>"))}  # fmt: skip
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_text(len(words), **ids)))
    _lively(model).save_pretrained(folder)
    words.save_pretrained(folder)
    # As Vicuna's: transformers refuses to save a temperature without do_sample.
    settings = {"temperature": 0.9, "top_p": 0.6, **ids}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return folder


def qwen2(folder: Path) -> Path:
    """A Qwen2 with its own chat template, tied embeddings, and rows to spare."""
    ends = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    words = tokenizer(*ends, eos_token=ends[2], pad_token=ends[0])
    words.chat_template = CHATML
    config = tf.Qwen2Config(
        **_text(len(words) + 9, tie_word_embeddings=True), bos_token_id=None,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    _lively(tf.Qwen2ForCausalLM(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
