"""What goes wrong silently in stock transformers, and must not here: one named test a trap.

The other traps of the list have their tests where their subject is: generate without mask (1) in
test_parity, stale rope deltas (5), chunked prefill and foreign caches (20) in test_cache,
checkpointing (7, 8) in test_training.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.masking_utils import find_packed_sequence_indices
from transformers.modeling_flash_attention_utils import _is_packed_sequence

import wheresight
from wheresight.errors import ModelError


def seen_by(module: Any) -> tuple[list[dict[str, Any]], Any]:
    """Keyword arguments of every call of a module from now on, and the handle to stop."""
    calls: list[dict[str, Any]] = []

    def look(_: Any, args: Any, kwargs: Any) -> None:
        calls.append(dict(kwargs))

    return calls, module.register_forward_pre_hook(look, with_kwargs=True)


def test_trap_1_and_2_collapsed_ids_look_packed_and_never_leave_the_rotary_module(
    make_model: Any, make_batch: Any
) -> None:
    """The detectors of masks and of flash attention keep seeing the stock ids."""
    model, batch = make_model("llava"), make_batch("llava", [[0, "i", 5]])
    collapsed = torch.tensor([[0, 0, 0, 1, 2]])
    assert find_packed_sequence_indices(collapsed) is not None
    assert _is_packed_sequence(collapsed, 1)
    layers = wheresight.wrap(model).family.layers(model)
    with torch.no_grad():
        for spec in ("none", "bapa"):
            calls, handle = seen_by(layers[0])
            with wheresight.intervene(model, spec):
                model(
                    input_ids=batch.inputs["input_ids"], pixel_values=batch.inputs["pixel_values"]
                )
            handle.remove()
            ids = calls[0]["position_ids"]
            assert torch.equal(ids, torch.arange(14)[None])
            assert not _is_packed_sequence(ids, 1)


@pytest.mark.parametrize("spec", ["none", "bapa"])
@pytest.mark.parametrize("how", ["forward", "generate"])
def test_trap_4_missing_mm_token_type_ids(
    make_model: Any, make_batch: Any, spec: str, how: str
) -> None:
    """Stock Qwen falls back to ids on a line and says nothing; a probe of it would be void."""
    model, batch = make_model("qwen"), make_batch("qwen", [[3, (2, 3), 4]])
    inputs = {k: v for k, v in batch.inputs.items() if k != "mm_token_type_ids"}
    with (
        torch.no_grad(),
        pytest.raises(ModelError, match="no mm_token_type_ids"),
        wheresight.intervene(model, spec),
    ):
        model(**inputs) if how == "forward" else model.generate(**inputs, max_new_tokens=2)


@pytest.mark.parametrize("spec", ["none", "bapa"])
def test_missing_token_type_ids_make_images_causal(
    make_model: Any, make_batch: Any, spec: str
) -> None:
    """The same silence in Gemma 3: without them its images attend in one direction only."""
    model, batch = make_model("gemma"), make_batch("gemma", [[3, "i", 4]])
    with torch.no_grad():
        right = model(**batch.inputs).logits
        batch.inputs.pop("token_type_ids")
        assert (model(**batch.inputs).logits - right).abs().max() > 1e-2
        with (
            pytest.raises(ModelError, match="no token_type_ids"),
            wheresight.intervene(model, spec),
        ):
            model(**batch.inputs)


@pytest.mark.parametrize("which", ["qwen", "qwen2", "qwen3"])
def test_trap_4_own_position_ids_will_do(
    make_model: Any, make_batch: Any, reference: Any, which: str
) -> None:
    model, batch = make_model(which), make_batch(which, [[3, (2, 3), 4]])
    ids = reference.stock_ids(model, batch)
    inputs = {k: v for k, v in batch.inputs.items() if k != "mm_token_type_ids"}
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        a = model(**inputs, position_ids=ids).logits
        b = model(**batch.inputs).logits
    assert torch.equal(a, b)


def test_trap_6_a_compiled_model_is_refused(make_model: Any) -> None:
    model = make_model("llava")
    with pytest.raises(ModelError, match="compiled model was given"):
        wheresight.wrap(torch.compile(model, backend="eager"))
    model.model.language_model.compile(backend="eager")
    with (
        pytest.raises(ModelError, match="compiled in place"),
        wheresight.intervene(model, "bapa"),
    ):
        pass


def test_trap_6_compiled_before_entering_and_compiled_inside(
    make_model: Any, make_batch: Any
) -> None:
    model = make_model("llava")
    batch, text = make_batch("llava", [[3, "i", 4]]), make_batch("llava", [[6]])
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        with wheresight.intervene(model, "bapa"):
            want = model(**batch.inputs).logits
            inside = torch.compile(model, backend="eager")
            assert torch.equal(inside(**batch.inputs).logits, want)
        assert torch.equal(inside(**batch.inputs).logits, plain)
        before = torch.compile(make_model("llava"), backend="eager")
        before(**text.inputs)
        # This compiled code is not entered by any hook, so all that can be seen is: no call.
        with (
            pytest.raises(ModelError, match="No forward call was seen"),
            wheresight.intervene(before._orig_mod, "bapa"),
        ):
            before(**text.inputs)
        # A block that is idle for no such reason is fine, whatever else has been compiled.
        with wheresight.intervene(make_model("llava"), "bapa") as idle:
            pass
        assert idle.calls == 0
    torch.compiler.reset()


def test_trap_6_a_seam_that_is_not_reached(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    rotary = model.model.language_model.rotary_emb
    kind = type(rotary)
    rotary.__class__ = type("Compiled", (kind,), {"__call__": kind.forward})
    with (
        torch.no_grad(),
        pytest.raises(ModelError, match="positions of this model were not reached"),
        wheresight.intervene(model, "bapa"),
    ):
        model(**batch.inputs)


def test_trap_11_ids_given_by_place(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("next_llama"), make_batch("next_llama", [[3, (8, 16), 4]])
    inputs = dict(batch.inputs)
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        by_name = model(**batch.inputs).logits
        by_place = model(inputs.pop("input_ids"), **inputs).logits
    assert torch.equal(by_name, by_place)


def test_trap_16_features_given_in_advance_are_left_as_they_were(
    make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    inputs = {k: v for k, v in batch.inputs.items() if k != "pixel_values"}
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        out = model.model.get_image_features(batch.inputs["pixel_values"], return_dict=True)
        kept = [feature.clone() for feature in out.pooler_output]
        model(**inputs, mm_encoder_outputs={"image": out})
    assert all(torch.equal(a, b) for a, b in zip(kept, out.pooler_output, strict=True))


def test_trap_17_adjacent_images_are_two(make_model: Any, make_batch: Any) -> None:
    """One run of 18 placeholders, two ids: the second image is a step further than the first."""
    model, batch = make_model("llava"), make_batch("llava", [[1, "i", "i", 2]])
    calls: list[torch.Tensor] = []

    def look(_: Any, args: Any, kwargs: Any) -> None:
        calls.append(kwargs["position_ids"])

    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        handle = model.model.language_model.rotary_emb.register_forward_pre_hook(
            look, with_kwargs=True
        )
        model(**batch.inputs)
    handle.remove()
    assert calls[0].tolist() == [[0, *[1] * 9, *[2] * 9, 3, 4]]


def test_trap_19_a_placeholder_that_the_model_wrote_is_text(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    """Over a cache, a placeholder without features behaves as any other token."""
    model, batch = make_model(family), make_batch(family, rows[:1])
    embedding = model.get_input_embeddings()
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        embedding.weight[90] = embedding.weight[33]
        logits = []
        for token in (33, 90):
            cache = model(**batch.inputs).past_key_values
            step = torch.tensor([[token, 34]])
            logits.append(model(input_ids=step, past_key_values=cache).logits)
    if family == "gemma" and model.config.image_token_id >= model.model.vocab_size:
        return
    assert torch.equal(logits[0], logits[1])


def test_videos_are_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("qwen"), make_batch("qwen", [[3, (2, 3), 4]])
    with (
        torch.no_grad(),
        pytest.raises(ModelError, match="only still images"),
        wheresight.intervene(model, "bapa"),
    ):
        model(**batch.inputs, pixel_values_videos=batch.inputs["pixel_values"])


def test_a_missing_image_is_told(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("next_llama"), make_batch("next_llama", [[3, (8, 16), 4]])
    batch.inputs["input_ids"][0, 3] = 7
    with (
        torch.no_grad(),
        pytest.raises(ModelError, match="13 image placeholder tokens from column 4"),
        wheresight.intervene(model, "bapa"),
    ):
        model(**batch.inputs)


@pytest.mark.parametrize("which", ["qwen", "qwen2", "qwen3"])
def test_ids_are_as_expected_under_m_rope(make_model: Any, make_batch: Any, which: str) -> None:
    """Two images of 2 x 3 and 4 x 2 tokens: the example of the research notes."""
    model, batch = make_model(which), make_batch(which, [[2, (2, 3), 1, (4, 2), 1]])
    seen: list[torch.Tensor] = []

    def look(_: Any, args: Any, kwargs: Any) -> None:
        seen.append(args[1])

    rotary = model.model.language_model.rotary_emb
    with torch.no_grad():
        for spec in ("none", "bapa"):
            with wheresight.intervene(model, spec):
                handle = rotary.register_forward_pre_hook(look, with_kwargs=True)
                model(**batch.inputs)
                handle.remove()
    stock = [*range(3), *[3] * 6, 6, 7, 8, *[9] * 8, 13, 14]
    assert seen[0][0, 0].tolist() == stock
    assert seen[0][1, 0, 3:9].tolist() == [3, 3, 3, 4, 4, 4]
    assert seen[0][2, 0, 3:9].tolist() == [3, 4, 5, 3, 4, 5]
    after = [*range(3), *[3] * 6, 4, 5, 6, *[7] * 8, 8, 9]
    assert seen[1][:, 0].tolist() == [after] * 3
