"""Tiny models with random weights, built from stock configuration classes.

Attention weights are amplified so that logits depend strongly on positions: a test that would pass
with a wrong position must not exist.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers as tf

IMAGE = 90
VOCABULARY = 99
START, END = 91, 92  # what the Qwen and Gemma families put around an image
FAMILIES = ("llava", "llava_gqa", "next_mistral", "next_llama", "qwen", "gemma")

torch.set_num_threads(1)

# Rows of a batch: several images, images missing, adjacent images where the family allows them.
# An int is so many text tokens; anything else is an image (see `batch_of`).
ROWS: dict[str, list[list[Any]]] = {
    "llava": [[3, "i", 5], [2, "i", 2, "i", 6], [1, "i", "i", 4], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6], [7]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4], [6]],
    "qwen": [[3, (2, 3), 2, (4, 2), 2], [1, (3, 3), 3], [0, (1, 5), 3], [5]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a `family` on all tiny models."""
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", FAMILIES)


def _text(**more: Any) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": None,
        **more,
    }


def _clip(side: int) -> Any:
    return tf.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=4 * side,
        patch_size=4,
    )


def _llava(text: Any, cls: type, side: int = 3, **more: Any) -> Any:
    config = {
        tf.LlavaForConditionalGeneration: tf.LlavaConfig,
        tf.LlavaNextForConditionalGeneration: tf.LlavaNextConfig,
    }[cls]
    return cls(config(vision_config=_clip(side), text_config=text, image_token_id=IMAGE, **more))


PINPOINTS = [[8, 8], [8, 16], [16, 8], [16, 16]]  # with tiles of 8 x 8 pixels


def _build(family: str) -> Any:
    llava, following = tf.LlavaForConditionalGeneration, tf.LlavaNextForConditionalGeneration
    if family == "llava":
        return _llava(tf.LlamaConfig(**_text()), llava)
    if family == "llava_gqa":
        return _llava(tf.Qwen2Config(**_text(num_key_value_heads=2)), llava)
    if family == "next_llama":
        return _llava(tf.LlamaConfig(**_text()), following, 2, image_grid_pinpoints=PINPOINTS)
    if family == "next_mistral":
        text = tf.MistralConfig(**_text(num_key_value_heads=2, sliding_window=None))
        return _llava(text, following, 2, image_grid_pinpoints=PINPOINTS)
    if family == "qwen":
        config = tf.Qwen2_5_VLConfig(
            text_config=_text(
                num_key_value_heads=2,
                rope_parameters={
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [2, 3, 3],
                },
            ),
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 2,
                "out_hidden_size": 64,
                "patch_size": 4,
                "spatial_patch_size": 4,
                "window_size": 16,
                "fullatt_block_indexes": [1],
            },
            image_token_id=IMAGE,
            video_token_id=93,
            vision_start_token_id=START,
            vision_end_token_id=END,
        )
        return tf.Qwen2_5_VLForConditionalGeneration(config)
    if family == "gemma":
        config = tf.Gemma3Config(
            text_config=_text(
                head_dim=16,
                num_key_value_heads=2,
                num_hidden_layers=3,
                sliding_window=8,
                layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                query_pre_attn_scalar=16,
            ),
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 16,
                "patch_size": 4,
            },
            mm_tokens_per_image=4,
            image_token_id=IMAGE,
            boi_token_index=START,
            eoi_token_index=END,
        )
        return tf.Gemma3ForConditionalGeneration(config)
    raise AssertionError(family)


def _amplify(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim < 2:
                continue
            weight.normal_(0.0, 1.0 / weight.shape[-1] ** 0.5, generator=generator)
            if "language_model" in name and ("q_proj" in name or "k_proj" in name):
                weight.mul_(1.6)
            if "embed_tokens" in name:
                weight.normal_(0.0, 0.5 if "gemma" not in type(model).__name__.lower() else 0.1)
        for name, weight in model.named_parameters():
            if "mm_input_projection" in name:
                weight.normal_(0.0, 0.3, generator=generator)


_MODELS: dict[str, Any] = {}


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """`make_model(family)`: a private copy of a tiny model, in evaluation mode."""

    def make(family: str, dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> Any:
        if family not in _MODELS:
            torch.manual_seed(0)
            model = _build(family)
            _amplify(model)
            model.generation_config.pad_token_id = 0
            model.generation_config.eos_token_id = None
            model.generation_config.bad_words_ids = [[IMAGE], [93]]
            _MODELS[family] = model.eval()
        model = copy.deepcopy(_MODELS[family]).to(dtype)
        model.set_attn_implementation(attention)
        return model

    return make


@dataclass
class Batch:
    """Inputs of a call, and where the images are, known from how the prompt was made."""

    inputs: dict[str, Any]
    # For each row, each image: (first column, number of tokens, height, width).
    images: list[list[tuple[int, int, int, int]]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)


# A row is a list of parts: an int is so many text tokens, a string is an image.
Row = Sequence[Any]


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """`make_batch(family, rows, side="left")`: a padded batch of prompts with random images.

    An image part is a pair (height, width): of tokens for Qwen, of pixels for LLaVA-NeXT, ignored
    by families whose images have one size.
    """
    return batch_of


def batch_of(
    family: str,
    rows: Sequence[Row],
    side: str = "left",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    pad_to: int = 0,
) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    written: list[list[int]] = []
    spans: list[list[tuple[int, int, int, int]]] = []
    pixels: list[torch.Tensor] = []
    sizes: list[tuple[int, ...]] = []
    for row in rows:
        ids: list[int] = []
        own: list[tuple[int, int, int, int]] = []
        for part in row:
            if isinstance(part, int):
                ids += torch.randint(5, 80, (part,), generator=generator).tolist()
                continue
            if family in ("qwen", "gemma"):
                ids.append(START)
            if family in ("llava", "llava_gqa"):
                count, h, w = 9, 3, 3
                pixels.append(noise(3, 12, 12))
            elif family == "gemma":
                count, h, w = 4, 2, 2
                pixels.append(noise(3, 16, 16))
            elif family == "qwen":
                h, w = part
                count = h * w
                pixels.append(noise(4 * h * w, 3 * 2 * 4 * 4))
                sizes.append((1, 2 * h, 2 * w))
            else:
                count, h, w, tiles = next_tokens(*part)
                pixels.append(noise(1 + tiles, 3, 8, 8))
                sizes.append(tuple(part))
            own.append((len(ids), count, h, w))
            ids += [IMAGE] * count
            if family in ("qwen", "gemma"):
                ids.append(END)
        written.append(ids)
        spans.append(own)
    longest = max(pad_to, *(len(ids) for ids in written))
    padded, mask = [], []
    for n, ids in enumerate(written):
        gap = longest - len(ids)
        if side == "left":
            padded.append([0] * gap + ids)
            mask.append([0] * gap + [1] * len(ids))
            spans[n] = [(first + gap, *rest) for first, *rest in spans[n]]  # type: ignore[misc]
        else:
            padded.append(ids + [0] * gap)
            mask.append([1] * len(ids) + [0] * gap)
    inputs: dict[str, Any] = {
        "input_ids": torch.tensor(padded),
        "attention_mask": torch.tensor(mask),
    }
    kinds = (inputs["input_ids"] == IMAGE).long()
    if family == "qwen":
        inputs["mm_token_type_ids"] = kinds
    if family == "gemma":
        inputs["token_type_ids"] = kinds
    if pixels:
        if family == "qwen":
            inputs["pixel_values"] = torch.cat(pixels)
            inputs["image_grid_thw"] = torch.tensor(sizes)
        elif family.startswith("next"):
            most = max(len(p) for p in pixels)
            inputs["pixel_values"] = torch.stack(
                [torch.cat([p, p.new_zeros(most - len(p), 3, 8, 8)]) for p in pixels]
            )
            inputs["image_sizes"] = torch.tensor(sizes)
        else:
            inputs["pixel_values"] = torch.stack(pixels)
    return Batch(inputs, spans, [len(ids) for ids in written])


def next_tokens(height: int, width: int) -> tuple[int, int, int, int]:
    """Tokens, grid and tiles of a LLaVA-NeXT picture, worked out by hand for those in use."""
    return {
        (16, 16): (4 + 4 * 5, 4, 4, 4),
        (8, 16): (4 + 2 * 5, 2, 4, 2),
        (16, 8): (4 + 4 * 3, 4, 2, 2),
        (8, 8): (4 + 2 * 3, 2, 2, 1),
        (9, 16): (4 + 2 * 5, 2, 4, 4),  # fitted into 16 x 16, margins cut to an even number
    }[height, width]


@pytest.fixture
def batch(family: str) -> Batch:
    """The family's standard batch, padded on the left."""
    return batch_of(family, ROWS[family])


def bapa_ids(batch: Batch) -> torch.Tensor:
    """(B, T) ids after BaPA, counted token by token; padding has 0."""
    mask = batch.inputs["attention_mask"]
    ids = torch.zeros_like(mask)
    for b, row in enumerate(mask.tolist()):
        owner = {
            c: n
            for n, (first, count, *_) in enumerate(batch.images[b])
            for c in range(first, first + count)
        }
        at, inside = 0, None
        for column, real in enumerate(row):
            if not real:
                continue
            if inside is not None and owner.get(column) != inside:
                at += 1
            inside = owner.get(column)
            ids[b, column] = at
            if inside is None:
                at += 1
    return ids


def stock_ids(model: Any, batch: Batch) -> torch.Tensor:
    """(B, T) or (3, B, T) ids of the stock model for a padded batch."""
    mask = batch.inputs["attention_mask"]
    if "mm_token_type_ids" in batch.inputs and "image_grid_thw" in batch.inputs:
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
        return model.model.get_rope_index(**{n: batch.inputs[n] for n in names})[0]
    return (mask.cumsum(-1) - 1).clamp_min(0)


def merged_embeddings(model: Any, batch: Batch) -> torch.Tensor:
    """(B, T, D): what the stock model gives to its language model."""
    seen: list[torch.Tensor] = []

    def look(module: Any, args: Any, kwargs: Any) -> None:
        seen.append(kwargs["inputs_embeds"].detach())

    handle = model.model.language_model.register_forward_pre_hook(look, with_kwargs=True)
    with torch.no_grad():
        model(**batch.inputs, use_cache=False)
    handle.remove()
    return seen[0]


def masks(model: Any, batch: Batch, dtype: torch.dtype, bidirectional: bool) -> dict[str, Any]:
    """Explicit (B, 1, T, T) additive masks, full and sliding."""
    real = batch.inputs["attention_mask"].bool()
    rows, length = real.shape
    owner = torch.full((rows, length), -1)
    for b, images in enumerate(batch.images):
        for n, (first, count, *_) in enumerate(images):
            owner[b, first : first + count] = n
    column = torch.arange(length)
    behind = column[:, None] - column[None]
    may = (behind >= 0).expand(rows, -1, -1)
    if bidirectional:
        may = may | ((owner[:, :, None] == owner[:, None]) & (owner >= 0)[:, None])
    may = may & real[:, None]
    window = getattr(model.config.get_text_config(), "sliding_window", None) or length
    near = may & (behind < window)
    out = {}
    for name, allowed in (("full_attention", may), ("sliding_attention", near)):
        allowed = allowed | torch.eye(length, dtype=torch.bool)
        blocked = torch.zeros(rows, 1, length, length, dtype=dtype)
        out[name] = blocked.masked_fill(~allowed[:, None], torch.finfo(dtype).min)
    return out


def reference_logits(
    model: Any, batch: Batch, ids: torch.Tensor | None, bidirectional: bool | None = None
) -> torch.Tensor:
    """Logits (B, T, V) with these explicit ids (None: stock), no cache, no mask of the library's.

    The language model is called by itself, so that no id reaches anything but its rotary module.
    """
    embeddings = merged_embeddings(model, batch)
    gemma = "token_type_ids" in batch.inputs
    mask = masks(model, batch, embeddings.dtype, gemma if bidirectional is None else bidirectional)
    ids = stock_ids(model, batch) if ids is None else ids
    with torch.no_grad():
        out = model.model.language_model(
            inputs_embeds=embeddings,
            attention_mask=mask if gemma else mask["full_attention"],
            position_ids=ids,
            use_cache=False,
        )
        return model.lm_head(out.last_hidden_state)


@dataclass(frozen=True)
class Reference:
    """The reference implementation, for tests."""

    bapa_ids: Callable[..., torch.Tensor] = bapa_ids
    stock_ids: Callable[..., torch.Tensor] = stock_ids
    embeddings: Callable[..., torch.Tensor] = merged_embeddings
    masks: Callable[..., dict[str, Any]] = masks
    logits: Callable[..., torch.Tensor] = reference_logits


@pytest.fixture
def reference() -> Reference:
    """Loop-built ids and masks, and logits made from them without any hook."""
    return Reference()


@pytest.fixture
def rows(family: str) -> list[list[Any]]:
    """The rows of the family's standard batch."""
    return ROWS[family]
