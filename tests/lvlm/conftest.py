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
START, END = 91, 92  # what many families put around an image
# Tests go by these names: all of M-RoPE begin with `qwen`, all that have token_type_ids end in
# `gemma`, and an image part is a pair of pixels for `next...` and `onevision`.
FAMILIES = (
    "llava",
    "llava_gqa",
    "next_mistral",
    "next_llama",
    "onevision",
    "qwen",
    "qwen2",
    "qwen3",
    "gemma",
    "paligemma",
    "internvl",
    "idefics",
    "smolvlm",
)

torch.set_num_threads(1)

# Rows of a batch: several images, images missing, adjacent images where the family allows them.
# An int is so many text tokens; anything else is an image, "ii" one of two tiles (see `batch_of`).
ROWS: dict[str, list[list[Any]]] = {
    "llava": [[3, "i", 5], [2, "i", 2, "i", 6], [1, "i", "i", 4], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6], [7]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4], [6]],
    "onevision": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [1, (8, 16), 3], [6]],
    "qwen": [[3, (2, 3), 2, (4, 2), 2], [1, (3, 3), 3], [0, (1, 5), 3], [5]],
    "qwen2": [[3, (3, 2), 3], [1, (2, 4), 2, (1, 2), 3], [6]],
    "qwen3": [[1, (2, 4), 2, (2, 2), 3], [3, (2, 3), 3], [0, (5, 1), 3], [6]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
    "paligemma": [["i", 6], [1, "i", "i", 2, "i", 5], [7]],
    "internvl": [[3, "i", 5], [2, "ii", 2, "i", 4], [6]],
    "idefics": [[3, "ii", 5], [2, "i", 2, "i", 4], [6]],
    "smolvlm": [[3, "i", 2, "ii", 4], ["i", 5], [7]],
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


def _tower(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 4,
        **more,
    }


def _llava(text: Any, cls: type, side: int = 3, **more: Any) -> Any:
    config = {
        tf.LlavaForConditionalGeneration: tf.LlavaConfig,
        tf.LlavaNextForConditionalGeneration: tf.LlavaNextConfig,
    }[cls]
    vision = tf.CLIPVisionConfig(**_tower(image_size=4 * side))
    return cls(config(vision_config=vision, text_config=text, image_token_id=IMAGE, **more))


def _qwen(cls: type, config: type, section: list[int], vision: dict[str, Any], **text: Any) -> Any:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": section}
    return cls(
        config(
            text_config=_text(num_key_value_heads=2, rope_parameters=rope, **text),
            vision_config={"depth": 2, "num_heads": 2, "patch_size": 4, **vision},
            image_token_id=IMAGE,
            video_token_id=93,
            vision_start_token_id=START,
            vision_end_token_id=END,
        )
    )


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
    if family == "onevision":
        config = tf.LlavaOnevisionConfig(
            vision_config=tf.SiglipVisionConfig(**_tower(image_size=8, vision_use_head=False)),
            text_config=tf.Qwen2Config(**_text(num_key_value_heads=2)),
            image_grid_pinpoints=PINPOINTS,
            vision_aspect_ratio="anyres_max_2",  # so that 16 x 16 pixels are shrunk to 2 x 2 tokens
            image_token_index=IMAGE,
            video_token_index=93,
        )
        return tf.LlavaOnevisionForConditionalGeneration(config)
    if family == "qwen":
        vision = {
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "spatial_patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        }
        cls = tf.Qwen2_5_VLForConditionalGeneration
        return _qwen(cls, tf.Qwen2_5_VLConfig, [2, 3, 3], vision)
    if family == "qwen2":
        vision = {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
        return _qwen(tf.Qwen2VLForConditionalGeneration, tf.Qwen2VLConfig, [2, 3, 3], vision)
    if family == "qwen3":
        vision = {
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        }
        cls = tf.Qwen3VLForConditionalGeneration
        return _qwen(cls, tf.Qwen3VLConfig, [4, 2, 2], vision, head_dim=16)
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
            vision_config=_tower(image_size=16),
            mm_tokens_per_image=4,
            image_token_id=IMAGE,
            boi_token_index=START,
            eoi_token_index=END,
        )
        return tf.Gemma3ForConditionalGeneration(config)
    if family in ("paligemma", "paligemma2"):
        vision = tf.SiglipVisionConfig(**_tower(image_size=12, vision_use_head=False))
        text = tf.GemmaConfig(**_text(head_dim=16, num_key_value_heads=1))
        if family == "paligemma2":  # not in FAMILIES: only its masks are others
            text = tf.Gemma2Config(
                **_text(head_dim=16, num_key_value_heads=2),
                sliding_window=8,
                layer_types=["sliding_attention", "full_attention"],
                query_pre_attn_scalar=16,
                attn_logit_softcapping=None,
                final_logit_softcapping=None,
            )
        config = tf.PaliGemmaConfig(
            text_config=text,
            vision_config=vision,
            projection_dim=64,
            hidden_size=64,
            vocab_size=VOCABULARY,
            image_token_index=IMAGE,
        )
        return tf.PaliGemmaForConditionalGeneration(config)
    if family == "internvl":
        config = tf.InternVLConfig(
            text_config=tf.Qwen2Config(**_text(num_key_value_heads=2)),
            vision_config=_tower(image_size=[24, 24], patch_size=[4, 4]),
            image_seq_length=9,
            image_token_id=IMAGE,
        )
        return tf.InternVLForConditionalGeneration(config)
    if family == "idefics":
        config = tf.Idefics3Config(
            text_config=tf.LlamaConfig(**_text()),
            vision_config=_tower(image_size=24),
            scale_factor=2,
            image_token_id=IMAGE,
            pad_token_id=0,
        )
        return tf.Idefics3ForConditionalGeneration(config)
    if family == "smolvlm":
        config = tf.SmolVLMConfig(
            text_config=tf.LlamaConfig(**_text(num_key_value_heads=2)),
            vision_config=_tower(image_size=24),
            scale_factor=3,
            image_token_id=IMAGE,
            pad_token_id=0,
        )
        return tf.SmolVLMForConditionalGeneration(config)
    raise AssertionError(family)


def _amplify(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            text = "language_model" in name or "text_model" in name
            if weight.ndim < 2:
                if text and type(model).__name__.startswith("Qwen3") and "q_norm" in name:
                    weight.fill_(1.6)  # queries are normed after their projection
                continue
            weight.normal_(0.0, 1.0 / weight.shape[-1] ** 0.5, generator=generator)
            if text and ("q_proj" in name or "k_proj" in name):
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

    An image part is a pair (height, width): of tokens for Qwen, of pixels for LLaVA-NeXT and
    OneVision. Families whose tiles have one size ignore it, but "ii" is two tiles for those that
    cut pictures up. For PaliGemma, the last text of a row is a suffix but for its first 3 tokens.
    """
    return batch_of


Tile = tuple[int, int, int]  # number of tokens, height, width


def picture_of(
    family: str, part: Any, alone: bool, noise: Callable[..., torch.Tensor]
) -> tuple[list[Tile], torch.Tensor, tuple[int, ...]]:
    """The tiles of an image part, its pixels, and its size as the family's inputs tell it."""
    if family in ("llava", "llava_gqa", "paligemma"):
        return [(9, 3, 3)], noise(3, 12, 12), ()
    if family == "gemma":
        return [(4, 2, 2)], noise(3, 16, 16), ()
    if family.startswith("qwen"):
        h, w = part
        return [(h * w, h, w)], noise(4 * h * w, 3 * 2 * 4 * 4), (1, 2 * h, 2 * w)
    if family in ("internvl", "idefics", "smolvlm"):
        side = 2 if family == "smolvlm" else 3
        tiles = [(side * side, side, side)] * (2 if part == "ii" else 1)
        return tiles, noise(len(tiles), 3, 24, 24), ()
    if family == "onevision" and not alone:
        return [(5, 2, 2)], noise(1, 3, 8, 8), tuple(part)
    count, h, w, tiles = next_tokens(*part)
    if family == "onevision" and part == (16, 16):
        count, h, w = 4 + 2 * 3, 2, 2
    return [(count, h, w)], noise(1 + tiles, 3, 8, 8), tuple(part)


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
    pixels: list[list[torch.Tensor]] = []
    sizes: list[tuple[int, ...]] = []
    bare = family in ("llava", "llava_gqa", "onevision", "paligemma") or family.startswith("next")
    for row in rows:
        ids: list[int] = []
        own: list[tuple[int, int, int, int]] = []
        pictures: list[torch.Tensor] = []
        alone = sum(not isinstance(part, int) for part in row) == 1
        for part in row:
            if isinstance(part, int):
                ids += torch.randint(5, 80, (part,), generator=generator).tolist()
                continue
            tiles, made, size = picture_of(family, part, alone, noise)
            pictures.append(made)
            sizes.append(size)
            for n, (count, h, w) in enumerate(tiles):
                if not bare and (n == 0 or family in ("idefics", "smolvlm")):
                    ids.append(START)
                own.append((len(ids), count, h, w))
                ids += [IMAGE] * count
            if not bare:
                ids.append(END)
        written.append(ids)
        spans.append(own)
        pixels.append(pictures)
    longest = max(pad_to, *(len(ids) for ids in written))
    padded, mask, suffix = [], [], []
    for n, ids in enumerate(written):
        gap = longest - len(ids)
        last = rows[n][-1] if isinstance(rows[n][-1], int) else 0
        causal = max(0, last - 3)
        types = [0] * (len(ids) - causal) + [1] * causal
        if side == "left":
            padded.append([0] * gap + ids)
            mask.append([0] * gap + [1] * len(ids))
            suffix.append([0] * gap + types)
            spans[n] = [(first + gap, *rest) for first, *rest in spans[n]]  # type: ignore[misc]
        else:
            padded.append(ids + [0] * gap)
            mask.append([1] * len(ids) + [0] * gap)
            suffix.append(types + [0] * gap)
    inputs: dict[str, Any] = {
        "input_ids": torch.tensor(padded),
        "attention_mask": torch.tensor(mask),
    }
    kinds = (inputs["input_ids"] == IMAGE).long()
    if family.startswith("qwen"):
        inputs["mm_token_type_ids"] = kinds
    if family == "gemma":
        inputs["token_type_ids"] = kinds
    if family == "paligemma":
        inputs["token_type_ids"] = torch.tensor(suffix)
    if any(pixels):
        inputs |= _pixel_inputs(family, pixels, sizes)
    return Batch(inputs, spans, [len(ids) for ids in written])


def _pixel_inputs(
    family: str, rows: list[list[torch.Tensor]], sizes: list[tuple[int, ...]]
) -> dict[str, torch.Tensor]:
    """Pixels of each row's pictures, put together as the family's processor does."""
    flat = [picture for row in rows for picture in row]
    if family.startswith("qwen"):
        return {"pixel_values": torch.cat(flat), "image_grid_thw": torch.tensor(sizes)}
    if family == "internvl":
        return {"pixel_values": torch.cat(flat)}
    if family in ("idefics", "smolvlm"):
        tiles = [torch.cat([flat[0][:0], *row]) for row in rows]
        return {"pixel_values": torch.nn.utils.rnn.pad_sequence(tiles, batch_first=True)}
    if family.startswith("next") or family == "onevision":
        inputs = {
            "pixel_values": torch.nn.utils.rnn.pad_sequence(flat, batch_first=True),
            "image_sizes": torch.tensor(sizes),
        }
        if family == "onevision":
            inputs["batch_num_images"] = torch.tensor([len(row) for row in rows])
        return inputs
    return {"pixel_values": torch.stack(flat)}


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


def language_model(model: Any) -> Any:
    """The part of a model that runs the layers."""
    inner = model.model
    return inner.language_model if hasattr(inner, "language_model") else inner.text_model


def entering(model: Any, batch: Batch) -> dict[str, Any]:
    """What the stock model gives to its language model, by name."""
    seen: list[dict[str, Any]] = []

    def look(module: Any, args: Any, kwargs: Any) -> None:
        seen.append(kwargs)

    handle = language_model(model).register_forward_pre_hook(look, with_kwargs=True)
    with torch.no_grad():
        model(**batch.inputs, use_cache=False)
    handle.remove()
    return seen[0]


def merged_embeddings(model: Any, batch: Batch) -> torch.Tensor:
    """(B, T, D): what the stock model gives to its language model."""
    return entering(model, batch)["inputs_embeds"].detach()


def masks(model: Any, batch: Batch, dtype: torch.dtype, bidirectional: bool) -> dict[str, Any]:
    """Explicit (B, 1, T, T) additive masks, full and sliding.

    With `bidirectional`, an image attends to all of itself; in PaliGemma the whole prompt does.
    """
    real = batch.inputs["attention_mask"].bool()
    rows, length = real.shape
    owner = torch.full((rows, length), -1)
    for b, images in enumerate(batch.images):
        for n, (first, count, *_) in enumerate(images):
            owner[b, first : first + count] = n
    if model.config.model_type == "paligemma":
        owner = -batch.inputs["token_type_ids"]
    column = torch.arange(length)
    behind = column[:, None] - column[None]
    window = getattr(model.config.get_text_config(), "sliding_window", None) or length
    together = (owner[:, :, None] == owner[:, None]) & (owner >= 0)[:, None] & bidirectional
    out = {}
    for name, far in (("full_attention", length), ("sliding_attention", window)):
        before = (behind >= 0) & (behind < far)
        allowed = ((before | together) & real[:, None]) | torch.eye(length, dtype=torch.bool)
        blocked = torch.zeros(rows, 1, length, length, dtype=dtype)
        out[name] = blocked.masked_fill(~allowed[:, None], torch.finfo(dtype).min)
    return out


def reference_logits(
    model: Any, batch: Batch, ids: torch.Tensor | None, bidirectional: bool | None = None
) -> torch.Tensor:
    """Logits (B, T, V) with these explicit ids (None: stock), no cache, no mask of the library's.

    The language model is called by itself, so that no id reaches anything but its rotary module.
    """
    entered = entering(model, batch)
    embeddings = entered["inputs_embeds"].detach()
    if bidirectional is None:
        bidirectional = "token_type_ids" in batch.inputs
    mask = masks(model, batch, embeddings.dtype, bidirectional)
    layer_types = getattr(model.config.get_text_config(), "layer_types", None) or ()
    ids = stock_ids(model, batch) if ids is None else ids
    with torch.no_grad():
        out = language_model(model)(
            inputs_embeds=embeddings,
            attention_mask=mask if "sliding_attention" in layer_types else mask["full_attention"],
            position_ids=ids,
            use_cache=False,
            **{k: v for k, v in entered.items() if k in DEEPSTACK},
        )
        return model.lm_head(out.last_hidden_state)


DEEPSTACK = ("visual_pos_masks", "deepstack_visual_embeds")


@dataclass(frozen=True)
class Reference:
    """The reference implementation, for tests."""

    bapa_ids: Callable[..., torch.Tensor] = bapa_ids
    stock_ids: Callable[..., torch.Tensor] = stock_ids
    embeddings: Callable[..., torch.Tensor] = merged_embeddings
    masks: Callable[..., dict[str, Any]] = masks
    language_model: Callable[[Any], Any] = language_model
    logits: Callable[..., torch.Tensor] = reference_logits


@pytest.fixture
def reference() -> Reference:
    """Loop-built ids and masks, and logits made from them without any hook."""
    return Reference()


@pytest.fixture
def rows(family: str) -> list[list[Any]]:
    """The rows of the family's standard batch."""
    return ROWS[family]
