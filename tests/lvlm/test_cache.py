"""A cache carries its own past: interleaved, copied, repeated, cut, or not ours at all."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from transformers import DynamicCache, StaticCache

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.history import history_of

ONE = {
    "qwen": [[3, (2, 3), 2, (4, 2), 9]],
    "next_llama": [[3, (16, 16), 9]],
    "onevision": [[3, (16, 16), 9]],
}
TWO = {
    "qwen": [[3, (2, 3), 9], [1, (3, 3), 2, (1, 2), 5]],
    "next_llama": [[3, (16, 16), 9], [1, (8, 8), 20]],
    "next_mistral": [[3, (9, 16), 9], [1, (8, 8), 12]],
    "onevision": [[3, (8, 16), 9], [1, (8, 8), 2, (8, 8), 8]],
}
PLAIN_ONE, PLAIN_TWO = [[3, "i", 2, "i", 9]], [[3, "i", 9], [1, "i", 2, "i", 7]]
NEXT_ONE = [[2, (8, 16), 3, (8, 8), 9]]


def one(family: str) -> Any:
    return ONE.get(sort(family), NEXT_ONE if family == "next_mistral" else PLAIN_ONE)


def two(family: str) -> Any:
    return TWO.get(sort(family), PLAIN_TWO)


def sort(family: str) -> str:
    """All families with M-RoPE are alike here."""
    return "qwen" if family.startswith("qwen") else family


def stock_ids(model: Any, batch: Any) -> torch.Tensor:
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
    return model.model.get_rope_index(**{n: batch.inputs[n] for n in names})[0]


def expected(model: Any, batch: Any, reference: Any) -> torch.Tensor:
    return reference.logits(model, batch, reference.bapa_ids(batch))


def difference(a: torch.Tensor, b: torch.Tensor, real: torch.Tensor) -> float:
    return (a - b).abs()[real.bool()].max().item()


def features(model: Any, batch: Any, own: torch.Tensor) -> Any:
    """Features of these image tokens of a batch, as `mm_encoder_outputs` has them."""
    names = ("image_sizes", "image_grid_thw", "batch_num_images")
    sizes = {k: batch.inputs[k] for k in names if k in batch.inputs}
    out = model.model.get_image_features(batch.inputs["pixel_values"], **sizes, return_dict=True)

    def chosen(features: Any) -> Any:
        flat = torch.cat([f.reshape(-1, f.shape[-1]) for f in features])[own]
        return flat[None] if isinstance(features, torch.Tensor) else [flat]

    made = type(out)(pooler_output=chosen(out.pooler_output))
    if "deepstack_features" in out:
        made.deepstack_features = [chosen(layer) for layer in out.deepstack_features]
    return made


def piece(
    model: Any, family: str, batch: Any, start: int, stop: int, ids: torch.Tensor | None = None
) -> dict[str, Any]:
    """Inputs of columns start to stop, with the feature rows of their placeholders."""
    tokens = batch.inputs["input_ids"]
    inputs: dict[str, Any] = {
        "input_ids": tokens[:, start:stop],
        "attention_mask": batch.inputs["attention_mask"][:, :stop],
    }
    if ids is not None:
        inputs["position_ids"] = ids[..., start:stop]
    if family.endswith("gemma"):
        inputs["token_type_ids"] = batch.inputs["token_type_ids"][:, :stop]
    holder = tokens == 90
    rank = (holder.flatten().cumsum(0) - 1).view_as(holder)
    own = rank[:, start:stop][holder[:, start:stop]]
    if len(own):
        inputs["mm_encoder_outputs"] = {"image": features(model, batch, own)}
    return inputs


def run(model: Any, family: str, batch: Any, reference: Any, edges: list[int]) -> torch.Tensor:
    """Logits of a whole batch prefilled in pieces that end at these columns."""
    ids = reference.stock_ids(model, batch) if family.startswith("qwen") else None
    cache, logits = None, []
    for start, stop in zip([0, *edges], [*edges, batch.inputs["input_ids"].shape[1]], strict=True):
        inputs = piece(model, family, batch, start, stop, ids)
        out = model(**inputs, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        logits.append(out.logits)
    return torch.cat(logits, 1)


@pytest.mark.parametrize("edges", [[5], [2, 5, 6], [4, 9, 14]])
def test_prefill_in_pieces_may_cut_images(
    family: str, make_model: Any, make_batch: Any, reference: Any, edges: list[int]
) -> None:
    model, batch = make_model(family), make_batch(family, two(family))
    if family == "gemma":
        # Stock Gemma 3 is not exact where a piece cuts an image: its first half cannot see the
        # second. Cut in the text only.
        edges = [3, 13] if len(edges) > 1 else [13]
        batch = make_batch(family, [[3, "i", 9], [4, "i", 8]])
        edges = [3, 12][-len(edges) :]
    if family == "paligemma":
        # Nor here, where each token of a prompt sees all of it: cut in the causal suffix only.
        batch = make_batch(family, [[3, "i", 9], [4, "i", 8]])
        edges = [16, 18, 19][: len(edges)]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        got = run(model, family, batch, reference, edges)
    want = expected(model, batch, reference)
    assert difference(got, want, batch.inputs["attention_mask"]) < 5e-5


def test_a_piece_may_end_where_an_image_ends(
    family: str, make_model: Any, make_batch: Any, reference: Any
) -> None:
    """The next piece is text alone, yet its distance cannot be read off the image's last token."""
    if family == "paligemma":
        pytest.skip("a prompt that sees all of itself cannot be given in pieces")
    model, batch = make_model(family), make_batch(family, one(family))
    edges = [first + count for first, count, *_ in batch.images[0]]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        got = run(model, family, batch, reference, edges)
    want = expected(model, batch, reference)
    assert difference(got, want, batch.inputs["attention_mask"]) < 5e-5


def test_generate_in_prefill_chunks(family: str, make_model: Any, make_batch: Any) -> None:
    if family == "gemma":
        pytest.skip("stock Gemma 3 is not exact in chunks that cut an image")
    if family == "paligemma":
        pytest.skip("stock PaliGemma is not exact in chunks; images in later ones are refused")
    model, batch = make_model(family), make_batch(family, two(family))
    options = {
        "max_new_tokens": 4,
        "do_sample": False,
        "output_scores": True,
        "return_dict_in_generate": True,
    }
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        whole = model.generate(**batch.inputs, **options)
        parts = model.generate(**batch.inputs, **options, prefill_chunk_size=5)
    assert torch.equal(whole.sequences, parts.sequences)
    a, b = torch.stack(whole.scores), torch.stack(parts.scores)
    assert (a - b)[torch.isfinite(a)].abs().max() < 5e-5


def test_an_image_in_a_later_turn(
    family: str, make_model: Any, make_batch: Any, reference: Any
) -> None:
    """Text first, then over the cache a piece that brings pixels of its own."""
    if family == "paligemma":
        pytest.skip("a prompt that sees all of itself cannot go on; see test_families")
    model = make_model(family)
    size = {"qwen": (2, 3)}.get(sort(family), (8, 16))
    batch = make_batch(family, [[4, size, 3], [4, size, 3]])
    inputs = dict(batch.inputs)
    ids = inputs.pop("input_ids")
    mask = inputs.pop("attention_mask")
    later = dict(inputs)
    if family.startswith("qwen"):
        later["position_ids"] = reference.stock_ids(model, batch)[..., 3:]
        later["mm_token_type_ids"] = inputs["mm_token_type_ids"][:, 3:]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        first = model(input_ids=ids[:, :3], use_cache=True)
        second = model(
            input_ids=ids[:, 3:],
            attention_mask=mask,
            past_key_values=first.past_key_values,
            **later,
        )
    got = torch.cat([first.logits, second.logits], 1)
    assert difference(got, expected(model, batch, reference), mask) < 5e-5


def steps(model: Any, family: str, batch: Any, start: int, cache: Any, count: int) -> torch.Tensor:
    """Logits of `count` single-token calls from column `start` on.

    Stock Qwen makes ids for the whole mask of a decode step, so it is given its ids.
    """
    out = []
    ids = stock_ids(model, batch) if family.startswith("qwen") else None
    for at in range(start, start + count):
        inputs = piece(model, family, batch, at, at + 1, ids)
        inputs.pop("token_type_ids", None)
        out.append(model(**inputs, past_key_values=cache, use_cache=True).logits)
    return torch.cat(out, 1)


def test_interleaved_generations(
    family: str, make_model: Any, make_batch: Any, reference: Any
) -> None:
    """Two caches in turn; for M-RoPE the model's one slot (trap 5) is set right by the cache."""
    model = make_model(family)
    batches = [make_batch(family, one(family), seed=s) for s in (1, 2)]
    if family.startswith("qwen"):
        batches[1] = make_batch(family, [[2, (5, 1), 9]], seed=2)
    got: list[list[torch.Tensor]] = [[], []]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        caches = []
        for batch in batches:
            inputs = dict(batch.inputs)
            width = inputs["input_ids"].shape[1] - 4
            for key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
                if key in inputs:
                    inputs[key] = inputs[key][:, :width]
            caches.append(model(**inputs, use_cache=True).past_key_values)
        for step in range(4):
            for n, batch in enumerate(batches):
                at = batch.inputs["input_ids"].shape[1] - 4 + step
                token = batch.inputs["input_ids"][:, at : at + 1]
                out = model(input_ids=token, past_key_values=caches[n], use_cache=True)
                got[n].append(out.logits)
    for n, batch in enumerate(batches):
        want = expected(model, batch, reference)[:, -4:]
        assert (torch.cat(got[n], 1) - want).abs().max() < 5e-5


def prefill(model: Any, batch: Any, width: int) -> Any:
    inputs = dict(batch.inputs)
    for key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if key in inputs:
            inputs[key] = inputs[key][:, :width]
    return model(**inputs, use_cache=True).past_key_values


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copied_cache_goes_on_by_itself(
    family: str, make_model: Any, make_batch: Any, reference: Any, how: str
) -> None:
    model, batch = make_model(family), make_batch(family, two(family))
    width = batch.inputs["input_ids"].shape[1] - 4
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = prefill(model, batch, width)
        twin = copy.deepcopy(cache) if how == "deepcopy" else pickle.loads(pickle.dumps(cache))
        a = steps(model, family, batch, width, cache, 4)
        b = steps(model, family, batch, width, twin, 4)
    assert isinstance(twin, DynamicCache)
    assert history_of(twin) is not history_of(cache)
    assert torch.equal(a, b)
    assert (a - expected(model, batch, reference)[:, -4:]).abs().max() < 5e-5


@pytest.mark.parametrize("way", ["repeat", "select", "reorder", "keys_only"])
def test_rows_of_a_cache_may_be_repeated_and_reordered(
    family: str, make_model: Any, make_batch: Any, reference: Any, way: str
) -> None:
    """Prefix reuse, beams and batch selection: the record follows the rows."""
    model = make_model(family)
    batch = make_batch(family, one(family) if way == "keys_only" else two(family))
    width = batch.inputs["input_ids"].shape[1] - 4
    order = {"repeat": [0, 0, 0, 1, 1, 1], "select": [1, 0, 1], "reorder": [1, 0]}.get(way, [0, 0])
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = prefill(model, batch, width)
        if way == "repeat":
            cache.batch_repeat_interleave(3)
        elif way == "select":
            cache.batch_select_indices(torch.tensor(order))
        elif way == "reorder":
            cache.reorder_cache(torch.tensor(order))
        else:
            # Only the keys of a single row are repeated: the record of one row serves all.
            for layer in cache.layers:
                layer.batch_repeat_interleave(2)
        inputs = {
            "input_ids": batch.inputs["input_ids"][order, width:],
            "attention_mask": batch.inputs["attention_mask"][order],
        }
        if family.startswith("qwen"):
            inputs["position_ids"] = stock_ids(model, batch)[:, order, width:]
        got = model(**inputs, past_key_values=cache).logits
    want = expected(model, batch, reference)[order, -4:]
    assert (got - want).abs().max() < 5e-5


@pytest.mark.parametrize("which", ["llava", "qwen"])
@pytest.mark.parametrize("way", ["select", "reorder"])
def test_an_image_that_comes_after_rows_were_reordered(
    make_model: Any, make_batch: Any, reference: Any, way: str, which: str
) -> None:
    """There the whole history is thought through again, so all of it must have followed."""
    model = make_model(which)
    rows = {
        "llava": [[3, "i", 7, "i", 2], [1, "i", 4, "i", 2]],
        # As many tokens in other grids: only the ids tell these images apart.
        "qwen": [[3, (2, 3), 4, (2, 3), 2], [3, (1, 6), 4, (1, 6), 2]],
    }
    batch = make_batch(which, rows[which])
    turned = copy.deepcopy(batch)
    turned.images.reverse()
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if key in batch.inputs:
            turned.inputs[key] = batch.inputs[key].flip(0)
    turned.inputs["pixel_values"] = torch.cat(batch.inputs["pixel_values"].chunk(2)[::-1])
    if which == "qwen":
        turned.inputs["image_grid_thw"] = batch.inputs["image_grid_thw"][[2, 3, 0, 1]]
    edge = batch.images[0][0][0] + batch.images[0][0][1] + 3
    length = batch.inputs["input_ids"].shape[1]
    ids = [stock_ids(model, b) if which == "qwen" else None for b in (batch, turned)]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = model(**piece(model, which, batch, 0, edge, ids[0])).past_key_values
        order = torch.tensor([1, 0])
        cache.reorder_cache(order) if way == "reorder" else cache.batch_select_indices(order)
        rest = piece(model, which, turned, edge, length, ids[1])
        got = model(**rest, past_key_values=cache).logits
    want = expected(model, turned, reference)[:, edge:]
    assert (got - want).abs().max() < 5e-5


def test_a_cache_cut_back_to_before_the_image_is_text_again(
    make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    tokens = batch.inputs["input_ids"][:, [0, 1, 13, 14, 15]]
    with torch.no_grad():
        plain = model(input_ids=tokens).logits[:, 2:]
        with wheresight.intervene(model, "bapa"):
            cache = model(**batch.inputs).past_key_values
            cache.crop(-14)
            got = model(input_ids=tokens[:, 2:], past_key_values=cache).logits
    assert (got - plain).abs().max() < 2e-5


def test_a_cut_cache_forgets(family: str, make_model: Any, make_batch: Any, reference: Any) -> None:
    """crop takes a number of tokens to remove; what assisted decoding does after a wrong guess."""
    model, batch = make_model(family), make_batch(family, one(family))
    length = batch.inputs["input_ids"].shape[1]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = prefill(model, batch, length - 6)
        if family == "gemma":
            cache.activate_past_recording()
        steps(model, family, batch, length - 6, cache, 3)
        cache.crop(-2)
        got = steps(model, family, batch, length - 5, cache, 5)
    want = expected(model, batch, reference)[:, -5:]
    assert (got - want).abs().max() < 5e-5


def test_cut_back_into_an_image_and_filled_again(
    make_model: Any, make_batch: Any, reference: Any
) -> None:
    model, batch = make_model("llava"), make_batch("llava", PLAIN_ONE)
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = prefill(model, batch, 14 + 9)
        cache.crop(-(14 + 9 - 8))
        got = []
        for start, stop in ((8, 13), (13, batch.inputs["input_ids"].shape[1])):
            inputs = piece(model, "llava", batch, start, stop)
            got.append(model(**inputs, past_key_values=cache).logits)
    want = expected(model, batch, reference)[:, 8:]
    assert (torch.cat(got, 1) - want).abs().max() < 5e-5


def test_prompt_lookup_is_greedy(family: str, make_model: Any, make_batch: Any) -> None:
    model, batch = make_model(family), make_batch(family, one(family))
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        plain = model.generate(**batch.inputs, max_new_tokens=8, do_sample=False)
        guessed = model.generate(
            **batch.inputs, max_new_tokens=8, do_sample=False, prompt_lookup_num_tokens=3
        )
    assert torch.equal(plain, guessed)


def test_static_cache(family: str, make_model: Any, make_batch: Any, reference: Any) -> None:
    model, batch = make_model(family), make_batch(family, two(family))
    width = batch.inputs["input_ids"].shape[1] - 4
    cache = StaticCache(config=model.config.get_text_config(), max_cache_len=width + 8)
    inputs = dict(batch.inputs)
    for key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if key in inputs:
            inputs[key] = inputs[key][:, :width]
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        model(**inputs, past_key_values=cache, use_cache=True)
        got = steps(model, family, batch, width, cache, 4)
    assert (got - expected(model, batch, reference)[:, -4:]).abs().max() < 5e-5
    # Emptied, it is anybody's cache again.
    cache.reset()
    assert history_of(cache) is None
    with torch.no_grad():
        plain = model(**inputs, use_cache=False).logits
        again = model(**inputs, past_key_values=cache, use_cache=True).logits
    assert difference(plain, again, inputs["attention_mask"]) < 5e-5


def test_generate_with_a_static_cache(family: str, make_model: Any, make_batch: Any) -> None:
    model, batch = make_model(family), make_batch(family, two(family))
    options = {"max_new_tokens": 4, "do_sample": False}
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        dynamic = model.generate(**batch.inputs, **options)
        static = model.generate(**batch.inputs, **options, cache_implementation="static")
    assert torch.equal(dynamic, static)


def test_second_turn_of_generate(
    family: str, make_model: Any, make_batch: Any, reference: Any
) -> None:
    """generate goes on over the cache of an earlier generate, text only."""
    model, batch = make_model(family), make_batch(family, one(family))
    options = {"do_sample": False, "return_dict_in_generate": True, "output_scores": True}
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        whole = model.generate(**batch.inputs, max_new_tokens=6, **options)
        begun = model.generate(**batch.inputs, max_new_tokens=3, **options)
        on = model.generate(
            input_ids=begun.sequences,
            attention_mask=torch.ones_like(begun.sequences),
            past_key_values=begun.past_key_values,
            max_new_tokens=3,
            **options,
        )
    assert torch.equal(on.sequences, whole.sequences)


# ---- caches that must not enter -----------------------------------------------------------------


def decode(model: Any, batch: Any, cache: Any) -> Any:
    rows = batch.inputs["input_ids"].shape[0]
    return model(input_ids=torch.full((rows, 1), 7), past_key_values=cache, use_cache=True)


def test_a_plain_cache_is_refused(family: str, make_model: Any, make_batch: Any) -> None:
    model, batch = make_model(family), make_batch(family, one(family))
    with torch.no_grad():
        cache = model(**batch.inputs, use_cache=True).past_key_values
        with (
            pytest.raises(ModelError, match="not built under 'bapa'"),
            wheresight.intervene(model, "bapa"),
        ):
            decode(model, batch, cache)


@pytest.mark.parametrize("outside", ["stock", "none"])
def test_our_cache_is_refused_outside(
    family: str, make_model: Any, make_batch: Any, outside: str
) -> None:
    model, batch = make_model(family), make_batch(family, one(family))
    with torch.no_grad():
        with wheresight.intervene(model, "bapa"):
            cache = model(**batch.inputs, use_cache=True).past_key_values
        around = wheresight.intervene(model, "none") if outside == "none" else nullcontext()
        message = "built under the intervention 'bapa'"
        with pytest.raises(ModelError, match=message), around:
            decode(model, batch, cache)
        # Refusing has not harmed it.
        with wheresight.intervene(model, "bapa"):
            assert torch.isfinite(decode(model, batch, cache).logits).all()


def test_a_cache_fed_by_another_model_is_refused(make_model: Any, make_batch: Any) -> None:
    """Tokens that came in without us are noticed by their number."""
    model, batch = make_model("llava"), make_batch("llava", PLAIN_ONE)
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = model(**batch.inputs, use_cache=True).past_key_values
        for layer in cache.layers:
            layer.update(layer.keys[:, :, -1:], layer.values[:, :, -1:])
        with pytest.raises(ModelError, match="only 32 of them were made"):
            decode(model, batch, cache)


def test_another_number_of_rows_is_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", PLAIN_TWO)
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = model(**batch.inputs, use_cache=True).past_key_values
        for layer in cache.layers:
            layer.batch_repeat_interleave(2)
        with pytest.raises(ModelError, match="built for 2 rows and is used for 4"):
            model(input_ids=torch.full((4, 1), 7), past_key_values=cache)
