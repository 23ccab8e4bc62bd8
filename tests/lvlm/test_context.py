"""Entering, nesting, leaving: the model is changed inside, and itself again outside."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

import wheresight
from wheresight.errors import ModelError, SpecError
from wheresight.interventions import Intervention
from wheresight.lvlm import tracker


@dataclass(frozen=True)
class Bend(Intervention):
    """Squares all ids it is given, so that text after it does not move rigidly."""

    name: ClassVar[str] = "bend"
    assigns: ClassVar[bool] = False
    text_moves_rigidly: ClassVar[bool] = False
    over: int = 3

    def positions(self, ids: torch.Tensor, layout: Any, layer: int) -> torch.Tensor:
        return ids * ids // self.over


@dataclass(frozen=True)
class Shorten(Intervention):
    """A method with a mistake: it drops a token."""

    name: ClassVar[str] = "shorten"

    def positions(self, ids: torch.Tensor, layout: Any, layer: int) -> torch.Tensor:
        return ids[..., 1:]


def hooks(model: Any) -> list[int]:
    """Number of hooks of every kind on every module."""
    return [
        len(getattr(m, kind))
        for m in model.modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    ]


def outputs(model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        logits = model(**batch.inputs).logits
        out = model.generate(
            **batch.inputs,
            max_new_tokens=3,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return logits, torch.stack(out.logits)


def test_none_is_stock_bit_for_bit(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    before = outputs(model, batch)
    with wheresight.intervene(model, "none") as active:
        inside = outputs(model, batch)
    assert active.calls == 4
    assert active.spec == "none"
    assert all(torch.equal(a, b) for a, b in zip(before, inside, strict=True))


def test_leaving_restores_everything(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    before = outputs(model, batch)
    counted = hooks(model)
    attributes = {name: set(vars(m)) for name, m in model.named_modules()}
    attention = model.config.get_text_config()._attn_implementation
    with wheresight.intervene(model, "bapa"):
        inside = outputs(model, batch)
        assert sum(hooks(model)) > sum(counted)
    assert not torch.equal(before[0], inside[0])
    assert hooks(model) == counted
    assert {name: set(vars(m)) for name, m in model.named_modules()} == attributes
    assert model.config.get_text_config()._attn_implementation == attention
    assert not tracker.TRACKERS
    after = outputs(model, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_nested_is_flat_and_inner_exit_restores_outer(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    parts = ["bapa", Bend(3)]
    with torch.no_grad():
        with wheresight.intervene(model, parts):
            flat = model(**batch.inputs).logits
        with wheresight.intervene(model, "bapa") as outer:
            alone = model(**batch.inputs).logits
            with wheresight.intervene(model, parts[1]) as inner:
                nested = model(**batch.inputs).logits
                assert inner.spec == "bapa+bend"
            restored = model(**batch.inputs).logits
            with wheresight.intervene(model, "none"):
                idle = model(**batch.inputs).logits
        with wheresight.intervene(model, list(reversed(parts))):
            other_order = model(**batch.inputs).logits
    assert (outer.calls, inner.calls) == (4, 1)
    assert torch.equal(flat, nested)
    assert torch.equal(alone, restored)
    assert torch.equal(alone, idle)
    assert not torch.equal(alone, nested)
    # What assigns ids acts before what changes ids it is given, however they are written.
    assert torch.equal(flat, other_order)


def test_decoding_without_rigid_text_thinks_the_history_through(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    """The short way of a decode step is only taken where the method allows it."""
    model, batch = make_model(family), make_batch(family, rows[:2])
    options = {"max_new_tokens": 4, "do_sample": False}
    with torch.no_grad(), wheresight.intervene(model, ["bapa", Bend(2)]):
        cached = model.generate(**batch.inputs, **options)
        whole = model.generate(**batch.inputs, **options, use_cache=False)
    assert torch.equal(cached, whole)


def test_the_same_intervention_twice_is_refused_and_the_outer_block_goes_on(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    with torch.no_grad():
        model(**batch.inputs)  # stock models hook their own vision towers at the first call
    counted = hooks(model)
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        once = model(**batch.inputs).logits
        with (
            pytest.raises(SpecError, match="one method twice"),
            wheresight.intervene(model, "bapa"),
        ):
            pass
        again = model(**batch.inputs).logits
    assert torch.equal(once, again)
    assert hooks(model) == counted


def test_two_models_are_independent(make_model: Any, make_batch: Any) -> None:
    a, b = make_model("llava"), make_model("llava")
    batch = make_batch("llava", [[3, "i", 4]])
    with torch.no_grad():
        plain = a(**batch.inputs).logits
        with wheresight.intervene(a, "bapa"):
            changed = a(**batch.inputs).logits
            assert torch.equal(b(**batch.inputs).logits, plain)
            with wheresight.intervene(b, "bapa"):
                assert torch.equal(b(**batch.inputs).logits, changed)
            assert torch.equal(b(**batch.inputs).logits, plain)
            assert torch.equal(a(**batch.inputs).logits, changed)


def test_an_error_inside_a_layer_restores_and_spares_the_outer_block(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model(family), make_batch(family, rows)
    layer = wheresight.wrap(model).family.layers(model)[1]

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with torch.no_grad():
        plain = model(**batch.inputs).logits
        counted = hooks(model)
        with wheresight.intervene(model, "bapa"):
            good = model(**batch.inputs).logits
            handle = layer.register_forward_pre_hook(fail)
            with pytest.raises(ZeroDivisionError), wheresight.intervene(model, Bend(2)):
                model(**batch.inputs)
            handle.remove()
            assert torch.equal(model(**batch.inputs).logits, good)
        assert hooks(model) == counted
        assert torch.equal(model(**batch.inputs).logits, plain)


def test_a_cache_of_a_failed_call_is_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    layer = model.model.language_model.layers[1]

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = model(**batch.inputs).past_key_values
        token = torch.tensor([[7]])
        handle = layer.register_forward_pre_hook(fail)
        with pytest.raises(ZeroDivisionError):
            model(input_ids=token, past_key_values=cache)
        handle.remove()
        with pytest.raises(ModelError, match="a call failed midway"):
            model(input_ids=token, past_key_values=cache)


def test_a_cache_of_another_intervention_is_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    token = torch.tensor([[7]])
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        cache = model(**batch.inputs).past_key_values
        with (
            pytest.raises(ModelError, match=r"built under 'bapa' was given .* under 'bapa\+bend'"),
            wheresight.intervene(model, Bend()),
        ):
            model(input_ids=token, past_key_values=cache)
        model(input_ids=token, past_key_values=cache)


def test_a_copy_made_inside_is_a_stock_model(
    family: str, rows: Any, make_model: Any, make_batch: Any
) -> None:
    """A deep copy takes live hooks along; on the copy they do nothing."""
    model, batch = make_model(family), make_batch(family, rows)
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        with wheresight.intervene(model, "bapa"):
            twin = copy.deepcopy(model)
            changed = model(**batch.inputs).logits
            assert torch.equal(twin(**batch.inputs).logits, plain)
            assert torch.equal(model(**batch.inputs).logits, changed)
        assert torch.equal(twin(**batch.inputs).logits, plain)
        with wheresight.intervene(twin, "bapa"):
            assert torch.equal(twin(**batch.inputs).logits, changed)


def test_a_bad_spec_is_told_before_the_model_is_looked_at() -> None:
    with (
        pytest.raises(SpecError, match="Did you mean 'bapa'"),
        wheresight.intervene(object(), "bappa"),
    ):
        pass


def test_a_method_that_returns_another_shape_is_told(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    with (
        torch.no_grad(),
        pytest.raises(ModelError, match=r"shorten returned position ids of shape \(1, 1, 15\)"),
        wheresight.intervene(model, Shorten()),
    ):
        model(**batch.inputs)


def test_the_language_model_alone_is_refused(make_model: Any) -> None:
    model = make_model("llava")
    with (
        pytest.raises(ModelError, match="called on its own"),
        wheresight.intervene(model, "bapa"),
    ):
        model.model.language_model(input_ids=torch.tensor([[5, 6]]))


def test_an_idle_block_is_fine(make_model: Any) -> None:
    model = make_model("llava")
    with wheresight.intervene(model, "bapa") as active:
        pass
    assert active.calls == 0
