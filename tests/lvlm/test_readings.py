"""Readings on every family: attention against eager matrices, norms against hidden states, rotary
sensitivity against what must hold exactly."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.readings import moves
from wheresight.lvlm.readings.attention import AttentionReading, Masses
from wheresight.lvlm.tracker import TRACKERS

sys.path.insert(0, str(Path(__file__).parent))
from test_methods_everywhere import hooks

IMAGE = 90


def eager_matrices(eager: Any, batch: Any) -> torch.Tensor:
    """(B, L, A, T, T), as transformers returns them."""
    with torch.no_grad():
        return torch.stack(eager(**batch.inputs, output_attentions=True).attentions, 1)


def query_rows(batch: Any, b: int, rows: str) -> torch.Tensor:
    """(T,) bool, found from the ids."""
    real = batch.inputs["attention_mask"][b].bool()
    image = batch.inputs["input_ids"][b] == IMAGE
    column = torch.arange(len(real))
    if rows == "last":
        return column == column[real].max()
    if rows == "all":
        return real
    return real & ~image & (image.cumsum(0) > 0)


def check(
    one: Masses, matrices: torch.Tensor, batch: Any, b: int, rows: str, within: float
) -> None:
    chosen = query_rows(batch, b, rows)
    assert one.rows == int(chosen.sum())
    if not one.rows:
        return
    want = matrices[b][:, :, chosen]
    assert (one.columns - want.mean(2)).abs().max() < within
    image = batch.inputs["input_ids"][b] == IMAGE
    real = batch.inputs["attention_mask"][b].bool()
    system = real & ~image & (image.cumsum(0) == 0) & bool(image.any())
    groups = [want.mean(2)[..., g].sum(-1) for g in (system, image, real & ~image & ~system)]
    assert (one.mass - torch.stack(groups, -1)).abs().max() < within
    shares = want[..., image] / want[..., image].sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(shares, shares).sum(-1)
    assert (one.entropy - entropy.nanmean(-1)).nan_to_num().abs().max() < 1e-5
    assert not image.any() or torch.equal(one.entropy.isnan(), entropy.nanmean(-1).isnan())


@pytest.mark.parametrize("side", ["left", "right"])
def test_masses_are_those_of_eager_attention(
    make_model: Any, make_batch: Any, rows: Any, family: str, side: str
) -> None:
    """To 1e-6 in an eager model; an sdpa model has other roundings in its second layer.

    And outputs are those of the stock model bit for bit, in the block and behind it.
    """
    model, batch = make_model(family), make_batch(family, rows, side)
    eager = make_model(family, attention="eager")
    matrices = eager_matrices(eager, batch)
    with torch.no_grad():
        stock = model(**batch.inputs).logits
        for chosen in ("last", "text", "all"):
            with wheresight.read(model, "attention", rows=chosen, each=True) as reading:
                out = model(**batch.inputs).logits
            assert torch.equal(out, stock)
            with wheresight.read(eager, "attention", rows=chosen, each=True) as exact:
                eager(**batch.inputs)
            assert len(reading.prompts) == len(exact.prompts) == len(rows)
            for b, one in enumerate(reading.prompts):
                check(one, matrices, batch, b, chosen, 5e-6)
                check(exact.prompts[b], matrices, batch, b, chosen, 1e-6)
        assert torch.equal(model(**batch.inputs).logits, stock)


def test_small_blocks_sum_to_the_same(
    make_model: Any, make_batch: Any, rows: Any, family: str, monkeypatch: Any
) -> None:
    import wheresight.lvlm.readings.rows as module

    model, batch = make_model(family), make_batch(family, rows)
    found = []
    for size in (1, 2**30):
        monkeypatch.setattr(module, "_TOGETHER", size)
        with torch.no_grad(), wheresight.read(model, "attention", rows="all") as reading:
            model(**batch.inputs)
        found.append(reading.mass)
    assert (found[0] - found[1]).abs().max() < 1e-6


def test_a_prompt_in_parts_is_read_whole(
    make_model: Any, make_batch: Any, rows: Any, reference: Any, family: str
) -> None:
    """Chunks over a cache that is branched in between, as a scorer does."""
    if "gemma" in family:
        pytest.skip("its beginning, or its mask, depends on what follows: parts are another prompt")
    model, batch = make_model(family), make_batch(family, rows[:1])
    inputs, length = batch.inputs, batch.inputs["input_ids"].shape[1]
    ids = reference.stock_ids(model, batch)

    def part(start: int, stop: int, times: int) -> dict[str, Any]:
        own = {
            k: v[:, start:stop].repeat(times, 1)
            for k, v in inputs.items()
            if k in ("input_ids", "mm_token_type_ids")
        }
        places = ids[..., start:stop].expand(*ids.shape[:-2], 1, -1)
        return {**own, "position_ids": places.repeat(*[1] * (ids.ndim - 2), times, 1)}

    pictures = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_sizes",
                "image_grid_thw", "batch_num_images")}  # fmt: skip
    with torch.no_grad():
        for chosen in ("last", "text", "all"):
            with wheresight.read(model, "attention", rows=chosen, each=True) as whole:
                model(**inputs)
            with wheresight.read(model, "attention", rows=chosen, each=True) as parts:
                with parts.prompt("inside"):
                    cache = model(
                        **part(0, length - 3, 1), **pictures, use_cache=True
                    ).past_key_values  # fmt: skip
                    cache.batch_repeat_interleave(2)
                    model(**part(length - 3, length - 1, 2), past_key_values=cache)
                with parts.prompt("ends", numbers=[7, 3]):
                    model(**part(length - 1, length, 2), past_key_values=cache)
            assert len(parts.prompts) == 2
            for one in parts.prompts:
                assert one.rows == whole.prompts[0].rows
                assert (one.columns - whole.prompts[0].columns).abs().max() < 2e-6
                assert (one.entropy - whole.prompts[0].entropy).abs().max() < 1e-5
        with wheresight.read(model, "rotary", moves=MOVES) as whole:
            model(**inputs)
        with wheresight.read(model, "rotary", moves=MOVES) as parts:
            with parts.prompt("inside"):
                cache = model(**part(0, length - 1, 1), **pictures).past_key_values
            with parts.prompt("ends"):
                model(**part(length - 1, length, 1), past_key_values=cache)
        assert (whole.alpha - parts.alpha).abs().max() < 5e-6


def test_a_cache_cut_within_what_was_summed_is_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 6]])
    ids = batch.inputs["input_ids"][:, -2:]
    with torch.no_grad(), wheresight.read(model, "attention", rows="text") as reading:
        cache = model(**batch.inputs, use_cache=True).past_key_values
        cache.crop(-1)
        model(input_ids=ids[:, -1:], past_key_values=cache)  # the last row alone can run again
        with reading.prompt("ends"):
            cache.crop(-3)
            with pytest.raises(ModelError, match="cropped"):
                model(input_ids=ids, past_key_values=cache)


def test_numbers_give_the_order(make_model: Any, make_batch: Any) -> None:
    model = make_model("llava")
    batches = [make_batch("llava", [[n, "i", 4]], seed=n) for n in (2, 3, 4)]
    with torch.no_grad(), wheresight.read(model, "attention") as reading:
        for number, batch in zip((2, 0, 1), batches, strict=True):
            with reading.prompt("ends", numbers=[number]):
                model(**batch.inputs)
    lengths = [one.layout.length for one in reading.prompts]
    assert lengths == [3 + 9 + 4, 4 + 9 + 4, 2 + 9 + 4]


@pytest.mark.parametrize("options", [{"use_cache": False}, {"num_beams": 2}])
def test_generate_in_other_ways(make_model: Any, make_batch: Any, options: Any) -> None:
    """Without a cache the same is read as with one; beams are rows."""
    model, batch = make_model("llava_gqa"), make_batch("llava_gqa", [["i", 5], [2, "i", 3]])
    generate = {"max_new_tokens": 3, "do_sample": False}
    stock = model.generate(**batch.inputs, **generate, **options)
    with wheresight.read(model, "attention", rows="text+generated") as reading:
        assert torch.equal(model.generate(**batch.inputs, **generate, **options), stock)
    assert len(reading.steps) == 2
    assert len(reading.prompts) == 2 * options.get("num_beams", 1)
    if "use_cache" in options:
        with wheresight.read(model, "attention", rows="text+generated") as cached:
            model.generate(**batch.inputs, **generate)
        for a, b in zip(reading.steps, cached.steps, strict=True):
            for x, y in zip(a, b, strict=True):
                assert (x.mass - y.mass).abs().max() < 2e-6
        assert (reading.mass - cached.mass).abs().max() < 2e-6
    refused = pytest.raises(ModelError, match="prompt_lookup_num_tokens")
    with refused, wheresight.read(model, "attention"):
        model.generate(**batch.inputs, **generate, prompt_lookup_num_tokens=2)


def test_norms_are_those_of_the_hidden_states(
    make_model: Any, make_batch: Any, rows: Any, family: str
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    states: list[torch.Tensor] = []
    inner = model.model
    language = inner.language_model if hasattr(inner, "language_model") else inner.text_model
    handle = language.norm.register_forward_pre_hook(lambda module, args: states.append(args[0]))
    with torch.no_grad(), wheresight.read(model, "norms") as reading:
        out = model(**batch.inputs, output_hidden_states=True)
    handle.remove()
    # Stock hidden states are layer inputs, and the last of them is normed.
    want = torch.stack([*out.hidden_states[:-1], states[0]], 1).norm(dim=-1)
    image = batch.inputs["input_ids"] == IMAGE
    for b, one in enumerate(reading.prompts):
        if family != "qwen3":  # adds to image tokens between its layers, behind these states
            assert torch.equal(one.norms, want[b])
        else:
            assert torch.equal(one.norms[:, ~image[b]], want[b][:, ~image[b]])
            assert torch.equal(one.norms[0], want[b, 0])
        if image[b].any():
            assert torch.equal(one.of("image"), one.norms[:, image[b]])
            text = query_rows(batch, b, "text")
            assert torch.allclose(one.ratio, one.of("image").mean(-1) / one.norms[:, text].mean(-1))
            low, half = one.quantiles("text", (0.0, 0.5))
            assert torch.equal(low, one.norms[:, text].amin(-1))
            assert torch.equal(half, one.norms[:, text].quantile(0.5, dim=-1))


MOVES = [
    moves.shift(0.0),
    moves.shift(1.0),
    moves.shift(-2.5),
    moves.shift_everything(3.0),
    moves.shift(1.0, "row"),
    moves.shift(1.0, "column"),
    moves.permute(5),
    moves.collapse(),
    moves.reverse(),
]


def test_rotary_oracles(make_model: Any, make_batch: Any, rows: Any, family: str) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    with torch.no_grad():
        stock = model(**batch.inputs).logits
        with wheresight.read(model, "attention") as attention:
            model(**batch.inputs)
        with wheresight.read(model, "rotary", moves=MOVES, each=True) as reading:
            out = model(**batch.inputs).logits
    assert torch.equal(out, stock)
    names = reading.prompts[0].moves
    for b, one in enumerate(reading.prompts):
        assert (one.stock - attention.prompts[b].mass[..., 1]).abs().max() < 1e-6
        if not one.layout.most_images:
            assert float(one.alpha.abs().max()) == 0
            continue
        # Nothing has moved, or everything together.
        nothing, everything = names.index("shift=+0"), names.index("everything=+3")
        assert torch.equal(one.alpha[nothing], one.stock)
        assert float(one.gain[nothing].abs().max()) < 1e-6
        assert (one.alpha[everything] - one.stock).abs().max() < 1e-6
        # logit(alpha after) - logit(alpha before) = log sum w exp(d), away from 0 and 1
        alpha, before = one.alpha.double(), one.stock.double()
        inner = ((alpha - 0.5).abs() < 0.49) & ((before - 0.5).abs() < 0.49)
        error = (torch.logit(alpha) - torch.logit(before) - one.gain)[inner]
        assert inner.any()
        assert error.abs().max() < 5e-5
        assert (one.gain - one.drift).min() > -1e-5  # Jensen
        # The same from the logits of each token.
        assert one.logits is not None
        weights = one.logits[0].softmax(-1)
        change = one.logits[1:] - one.logits[0]
        seen = torch.isfinite(one.gain)
        if family != "gemma":  # a window hides a part of the image from its last row
            gain = (weights * change.exp()).sum(-1).log()
            assert (gain - one.gain)[seen].abs().max() < 1e-4
            tv = (one.logits[1:].softmax(-1) - weights).abs().sum(-1) / 2
            assert (tv - one.rearranged).abs().max() < 1e-5


def test_turned_keys_are_those_of_a_model_with_other_ids(
    make_model: Any, make_batch: Any, family: str
) -> None:
    """In the first layer, where nothing else differs: a method's ids by turning, and by running."""
    rows = {"qwen": [[3, (2, 3), 4]], "qwen2": [[3, (3, 2), 3]], "qwen3": [[1, (2, 4), 3]]}
    pair = [[3, (16, 16), 5]] if family.startswith("next") or family == "onevision" else None
    batch = make_batch(family, rows.get(family) or pair or [[3, "i", 5]])
    model = make_model(family)
    with torch.no_grad():
        with wheresight.read(model, "rotary", moves=[moves.reverse()]) as turned:
            model(**batch.inputs)
        with wheresight.read(model, "attention") as run, wheresight.intervene(model, "reverse"):
            model(**batch.inputs)
    assert (turned.stock[0, 0] - turned.alpha[0, 0, 0]).abs().max() > 1e-4
    assert (turned.alpha[0, 0, 0] - run.mass[0, 0, :, 1]).abs().max() < 2e-6


def test_double_precision_identity(make_model: Any, make_batch: Any) -> None:
    """The identity to 1e-6, where float32 sums are out of the way."""
    model, batch = make_model("llava_gqa", torch.float64), None
    batch = make_batch("llava_gqa", [["i", 5], [2, "i", 2, "i", 4]], dtype=torch.float64)
    with torch.no_grad(), wheresight.read(model, "rotary", moves=MOVES) as reading:
        model(**batch.inputs)
    alpha, stock = reading.alpha.double(), reading.stock.double()[:, None]
    gain = torch.stack([one.gain for one in reading.prompts]).double()
    error = (torch.logit(alpha) - torch.logit(stock) - gain).abs()
    assert float(error.max()) < 1e-6


def test_everything_is_put_back(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 5]])
    with torch.no_grad():
        stock = model(**batch.inputs).logits
        counted = hooks(model)  # transformers leaves some of its own behind its first call
        with (
            wheresight.read(model, "attention"),
            wheresight.read(model, "norms"),
            wheresight.read(model, "rotary"),
        ):
            twin = copy.deepcopy(model)
            assert torch.equal(twin(**batch.inputs).logits, stock)  # a copy is not read
            model(**batch.inputs)
        with pytest.raises(ZeroDivisionError), wheresight.read(model, "attention"):
            raise ZeroDivisionError
    assert hooks(model) == counted
    assert "generate" not in vars(model)
    assert model.model.language_model.config._attn_implementation == "sdpa"
    assert id(model) not in TRACKERS


def test_a_cache_goes_on_unread(make_model: Any, make_batch: Any) -> None:
    """What a reading leaves on a cache does not hinder the stock model."""
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 5]])
    one = batch.inputs["input_ids"][:, -1:]
    with torch.no_grad():
        want = model(
            input_ids=one, past_key_values=model(**batch.inputs, use_cache=True).past_key_values
        )
        with wheresight.read(model, "attention"):
            cache = model(**batch.inputs, use_cache=True).past_key_values
        got = model(input_ids=one, past_key_values=cache)
        assert torch.equal(got.logits, want.logits)
        with wheresight.read(model, "attention") as reading:
            with pytest.raises(ModelError, match="outside of the reading"):
                model(input_ids=one, past_key_values=cache)
            model(**batch.inputs)
    assert isinstance(reading, AttentionReading)


def test_eager_and_bfloat16_are_read(make_model: Any, make_batch: Any) -> None:
    batch = make_batch("llava_gqa", [[3, "i", 5]])
    found = []
    for attention, dtype in (("sdpa", torch.float32), ("eager", torch.float32),
                             ("sdpa", torch.bfloat16)):  # fmt: skip
        model = make_model("llava_gqa", dtype, attention)
        own = make_batch("llava_gqa", [[3, "i", 5]], dtype=dtype)
        with torch.no_grad(), wheresight.read(model, "attention", rows="text") as reading:
            model(**own.inputs)
        assert reading.mass.dtype == torch.float32
        found.append(reading.mass)
    assert batch.inputs["input_ids"].equal(own.inputs["input_ids"])
    assert (found[0] - found[1]).abs().max() < 1e-6
    assert (found[0] - found[2]).abs().max() < 0.05


def test_a_compiled_model_is_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 5]])
    whole = torch.compile(model, backend="eager")
    refused = pytest.raises(ModelError, match="compiled model was given")
    with refused, wheresight.read(whole, "attention"):
        pass
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.forward = lambda hidden, **more: hidden  # a layer that calls no attention
        missed = pytest.raises(ModelError, match="was not shown layers")
        with missed, wheresight.read(model, "attention"):
            model(**batch.inputs)
