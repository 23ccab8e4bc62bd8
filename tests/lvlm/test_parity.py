"""BaPA by hooks equals explicit ids, explicit masks and no cache: no code of ours in common."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import wheresight
from wheresight.errors import ModelError


def same(a: torch.Tensor, b: torch.Tensor, real: torch.Tensor, atol: float = 3e-5) -> None:
    """Equal at real tokens."""
    difference = (a - b).abs()[real.bool()].max().item()
    assert difference < atol, difference


@torch.no_grad()
def forward(model: Any, spec: str = "bapa", **inputs: Any) -> Any:
    with wheresight.intervene(model, spec):
        return model(**inputs)


def one_row(make_batch: Any, family: str, row: Any, **more: Any) -> Any:
    return make_batch(family, [row], **more)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batch(
    family: str,
    rows: Any,
    make_model: Any,
    make_batch: Any,
    reference: Any,
    side: str,
    use_cache: bool,
) -> None:
    """Several images, adjacent images, rows without one, either padding, with and without cache."""
    model, batch = make_model(family), make_batch(family, rows, side)
    expected = reference.logits(model, batch, reference.bapa_ids(batch))
    stock = reference.logits(model, batch, None)
    real = batch.inputs["attention_mask"]
    same(forward(model, **batch.inputs, use_cache=use_cache).logits, expected, real)
    # The reference reproduces the stock model too, and the two differ by far.
    with torch.no_grad():
        same(model(**batch.inputs).logits, stock, real)
    assert (expected - stock).abs().max() > 0.5


@pytest.mark.parametrize("use_cache", [True, False])
def test_without_attention_mask(
    family: str, rows: Any, make_model: Any, make_batch: Any, reference: Any, use_cache: bool
) -> None:
    """Trap 1: without mask, stock code looks for packed sequences in the ids."""
    model = make_model(family)
    for row in rows[:2]:
        batch = one_row(make_batch, family, row)
        expected = reference.logits(model, batch, reference.bapa_ids(batch))
        inputs = {k: v for k, v in batch.inputs.items() if k != "attention_mask"}
        got = forward(model, **inputs, use_cache=use_cache).logits
        same(got, expected, batch.inputs["attention_mask"])


def test_eager_equals_sdpa(
    family: str, rows: Any, make_model: Any, make_batch: Any, reference: Any
) -> None:
    batch = make_batch(family, rows)
    sdpa = forward(make_model(family), **batch.inputs).logits
    eager = forward(make_model(family, attention="eager"), **batch.inputs).logits
    same(sdpa, eager, batch.inputs["attention_mask"])


def test_bfloat16_runs_and_is_near(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    batch = make_batch(family, rows)
    exact = forward(make_model(family), **batch.inputs).logits
    half = make_batch(family, rows, dtype=torch.bfloat16)
    got = forward(make_model(family, torch.bfloat16), **half.inputs).logits
    assert got.dtype == torch.bfloat16
    real = batch.inputs["attention_mask"].bool()
    error = (got.float() - exact)[real].pow(2).mean().sqrt()
    assert error < 0.1 * exact[real].std()


def greedy(model: Any, batch: Any, reference: Any, steps: int) -> tuple[Any, Any]:
    """Tokens and logits of greedy decoding by the reference, the whole prompt anew each step."""
    inputs = dict(batch.inputs)
    grown = copy.copy(batch)
    start = inputs["input_ids"].shape[1]
    logits = []
    for _ in range(steps):
        grown.inputs = inputs
        step = reference.logits(model, grown, reference.bapa_ids(grown))[:, -1]
        # As in the tiny models' generation configuration: placeholders are never written.
        step[:, [90, 93]] = -torch.inf
        logits.append(step)
        inputs = dict(inputs)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], step.argmax(-1)[:, None]], 1)
        one = torch.ones_like(inputs["input_ids"][:, :1])
        inputs["attention_mask"] = torch.cat([inputs["attention_mask"], one], 1)
        kind = one if model.config.model_type == "paligemma" else 0 * one  # there, 1 is causal
        for key in ("token_type_ids", "mm_token_type_ids"):
            if key in inputs:
                inputs[key] = torch.cat([inputs[key], kind], 1)
    return inputs["input_ids"][:, start:], torch.stack(logits, 1)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_generate(
    family: str,
    rows: Any,
    make_model: Any,
    make_batch: Any,
    reference: Any,
    use_cache: bool,
    padded: bool,
) -> None:
    """Unpadded too: there generate drops the mask of ones, and trap 1 would be reached."""
    model = make_model(family)
    batch = make_batch(family, rows if padded else rows[:1])
    tokens, logits = greedy(model, batch, reference, 4)
    with torch.no_grad(), wheresight.intervene(model, "bapa") as active:
        out = model.generate(
            **batch.inputs,
            max_new_tokens=4,
            do_sample=False,
            use_cache=use_cache,
            return_dict_in_generate=True,
            output_scores=True,
        )
    assert active.calls == 4
    assert torch.equal(out.sequences[:, -4:], tokens)
    scores = torch.stack(out.scores, 1)
    finite = torch.isfinite(logits)
    assert (scores - logits)[finite].abs().max() < 5e-5


def test_beams_with_cache_equal_beams_without(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows[:2])
    options = {"max_new_tokens": 5, "num_beams": 3, "do_sample": False}
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cached = model.generate(**batch.inputs, **options)
        whole = model.generate(**batch.inputs, **options, use_cache=False)
    assert torch.equal(cached, whole)


def test_text_only_batch_is_stock_bit_for_bit(
    family: str, make_model: Any, make_batch: Any
) -> None:
    """Also straight after a batch with images: nothing of it stays behind."""
    model = make_model(family)
    rows = {"qwen": [[3, (2, 3), 4]], "next_llama": [[3, (16, 16), 4]]}
    with_image = make_batch(family, rows.get(family, [[3, (8, 8), 4]]))
    text = make_batch(family, [[7], [4]])
    with torch.no_grad():
        plain = model(**text.inputs).logits
        with wheresight.intervene(model, "bapa"):
            model(**with_image.inputs)
            assert torch.equal(model(**text.inputs).logits, plain)
            text_tokens = model.generate(**text.inputs, max_new_tokens=4, do_sample=False)
        assert torch.equal(
            text_tokens, model.generate(**text.inputs, max_new_tokens=4, do_sample=False)
        )


def test_text_only_row_of_a_mixed_batch_is_stock(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows, "right")
    text = next(b for b, images in enumerate(batch.images) if not images)
    with torch.no_grad():
        plain = model(**batch.inputs).logits[text]
    assert torch.equal(forward(model, **batch.inputs).logits[text], plain)


def test_batch_of_one_equals_batch_of_eight_in_any_order(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    """float64: only the order of sums differs.

    Ids are counted from the mask, since transformers computes their angles in float32: the same
    distance between other ids differs by 1e-7.
    """
    model = make_model(family, torch.float64)
    many = [rows[n % 2] for n in range(8)]
    batch = make_batch(family, many, dtype=torch.float64)
    if not family.startswith("qwen"):
        counted = (batch.inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)
        batch.inputs["position_ids"] = counted
    together = forward(model, **batch.inputs).logits
    width = batch.inputs["input_ids"].shape[1]
    order = [3, 0, 7, 5, 1, 6, 4, 2]
    shuffled = pick(family, batch, order)
    again = forward(model, **shuffled).logits
    real = batch.inputs["attention_mask"].bool()
    assert (again - together[order]).abs()[real[order]].max() < 1e-10
    for b in range(2):
        alone = pick(family, batch, [b], trim=width - batch.lengths[b])
        got = forward(model, **alone).logits[0]
        assert (got - together[b, width - batch.lengths[b] :]).abs().max() < 1e-10


def pick(family: str, batch: Any, order: list[int], trim: int = 0) -> dict[str, Any]:
    """These rows of a batch with their images, without the first `trim` columns."""
    out = {}
    counts = [len(images) for images in batch.images]
    starts = [sum(counts[:b]) for b in range(len(counts))]
    images = [starts[b] + n for b in order for n in range(counts[b])]
    told = ("pixel_values", "image_sizes", "image_grid_thw", "batch_num_images")
    for key, value in batch.inputs.items():
        if key in told and not images:
            continue
        if key == "pixel_values" and family.startswith("qwen"):
            parts = value.split(batch.inputs["image_grid_thw"].prod(-1).tolist())
            out[key] = torch.cat([parts[i] for i in images])
        elif key == "batch_num_images" or (
            key == "pixel_values" and family in ("idefics", "smolvlm")
        ):
            out[key] = value[order]
        elif key in ("pixel_values", "image_sizes", "image_grid_thw"):
            out[key] = value[images]
        else:
            out[key] = value[order][:, trim:]
    return out


def test_vision_features_given_in_advance(
    family: str, rows: Any, make_model: Any, make_batch: Any, reference: Any
) -> None:
    """mm_encoder_outputs in place of pixels, forward and generate (which drops image sizes)."""
    model, batch = make_model(family), make_batch(family, rows)
    expected = reference.logits(model, batch, reference.bapa_ids(batch))
    inputs = dict(batch.inputs)
    pixels = inputs.pop("pixel_values")
    names = ("image_sizes", "image_grid_thw", "batch_num_images")
    sizes = {k: inputs[k] for k in names if k in inputs}
    with torch.no_grad():
        out = model.model.get_image_features(pixels, **sizes, return_dict=True)
        tokens = {}
        with wheresight.intervene(model, "bapa"):
            given = {"image": copy.copy(out)}
            got = model(**inputs, mm_encoder_outputs=given).logits
            options = {"max_new_tokens": 3, "do_sample": False}
            given = {"image": copy.copy(out)}
            tokens["given"] = model.generate(**inputs, **options, mm_encoder_outputs=given)
            tokens["pixels"] = model.generate(**batch.inputs, **options)
    same(got, expected, inputs["attention_mask"])
    assert torch.equal(tokens["given"], tokens["pixels"])


def test_logits_to_keep_keeps_the_same_logits(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    whole = forward(model, **batch.inputs).logits[:, -1]
    last = forward(model, **batch.inputs, logits_to_keep=1, use_cache=False).logits[:, 0]
    assert (whole - last).abs().max() < 2e-5


def test_position_ids_counted_from_the_mask_change_nothing(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    """Scoring passes them for padded rows so that rounding is that of generate."""
    if family.startswith("qwen"):
        pytest.skip("three rows of ids, which the model counts itself")
    model, batch = make_model(family), make_batch(family, rows)
    counted = (batch.inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)
    plain = forward(model, **batch.inputs).logits
    given = forward(model, **batch.inputs, position_ids=counted).logits
    same(plain, given, batch.inputs["attention_mask"])


def test_weights_kept_elsewhere(family: str, rows: Any, make_model: Any, make_batch: Any) -> None:
    """accelerate's offload wraps every module's forward; hooks are around that."""
    import accelerate

    if family == "gemma":
        pytest.skip("stock Gemma 3 reads a weight that accelerate has put away")
    model, batch = make_model(family), make_batch(family, rows)
    if family == "idefics":
        # Stock Idefics3 moves its embeddings to where its weights are, which is nowhere.
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
        with torch.no_grad(), pytest.raises(RuntimeError, match="meta"):
            model(**batch.inputs)
        return
    plain = forward(model, **batch.inputs).logits
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert torch.equal(forward(model, **batch.inputs).logits, plain)


def test_return_dict_false_is_served(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    whole = forward(model, **batch.inputs).logits
    assert torch.equal(forward(model, **batch.inputs, return_dict=False)[0], whole)


def test_embeddings_without_ids_are_refused(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows[:1])
    embeddings = model.get_input_embeddings()(batch.inputs["input_ids"].clamp_max(80))
    with (
        pytest.raises(ModelError, match="inputs_embeds alone do not tell"),
        wheresight.intervene(model, "bapa"),
    ):
        model(inputs_embeds=embeddings, attention_mask=batch.inputs["attention_mask"])
