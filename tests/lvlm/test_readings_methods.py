"""Readings under every registered method: what is read is what the model did.

The oracle knows nothing of readings: what an attention layer hands to its output projection must be
the weights that were read, times the values in the model's own cache.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight
from wheresight.errors import ModelError

sys.path.insert(0, str(Path(__file__).parent))
import by_hand as hand
from test_methods_everywhere import ROWS, SPECS, entered, every, hosted, same

KINDS = ("llava_gqa", "next_llama", "qwen", "gemma")
families = pytest.mark.parametrize("kind", KINDS)
GENERATE = {"max_new_tokens": 3, "do_sample": False, "return_dict_in_generate": True}


class Outputs:
    """What each attention layer hands on, call by call: (B, T, A, D)."""

    def __init__(self, model: Any) -> None:
        self.calls: list[list[torch.Tensor]] = []
        layers = hand.language(model).layers
        self.handles = [
            layer.self_attn.o_proj.register_forward_pre_hook(self._keep(n))
            for n, layer in enumerate(layers)
        ]
        self.width = hand.head_width(model)

    def _keep(self, number: int) -> Any:
        def keep(module: Any, args: Any) -> None:
            if number == 0:
                self.calls.append([])
            self.calls[-1].append(args[0].unflatten(-1, (-1, self.width)))

        return keep

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def applied(weights: torch.Tensor, cache: Any, b: int) -> dict[int, torch.Tensor]:
    """Weights (L, A, C) of row b times the values in a cache, (A, D) for each layer.

    Layers of a sliding window are left out: what a row saw has been dropped in part.
    """
    found = {}
    for n, own in enumerate(weights):
        values = cache.layers[n].values[b]
        values = values.repeat_interleave(len(own) // len(values), 0)
        if values.shape[1] >= own.shape[1]:
            found[n] = torch.einsum("as,asd->ad", own, values[:, : own.shape[1]])
    assert found
    return found


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() < 2e-5)


@families
@every
def test_the_last_row_is_as_the_model_has_it(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    hosted(model, spec)
    with entered(model, spec, batch):
        plain = model(**batch.inputs).logits
    with (
        entered(model, spec, batch),
        wheresight.read(model, "attention", rows="last", each=True) as reading,
    ):
        outputs = Outputs(model)
        out = model(**batch.inputs, use_cache=True)
        outputs.remove()
    assert torch.equal(out.logits, plain)
    for b, one in enumerate(reading.prompts):
        for n, own in applied(one.columns, out.past_key_values, b).items():
            assert near(own, outputs.calls[-1][n][b, -1]), (b, n)
        assert near(one.mass.sum(-1), one.columns.sum(-1))


@pytest.mark.parametrize("kind", ["llava_gqa", "gemma"])
@pytest.mark.parametrize("rows", ["text", "all"])
@pytest.mark.parametrize("spec", [s for s in SPECS if not s.startswith("adaptvis")])
def test_many_rows_are_as_the_model_has_them(
    make_model: Any, make_batch: Any, kind: str, spec: str, rows: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    hosted(model, spec)
    reads = wheresight.read(model, "attention", rows=rows, each=True)
    with reads as reading, entered(model, spec, batch):
        outputs = Outputs(model)
        # A cache of a sliding window would drop values, so the whole runs without one.
        values: list[torch.Tensor] = []
        handles = [
            layer.self_attn.v_proj.register_forward_hook(
                lambda module, args, out: values.append(out)
            )
            for layer in hand.language(model).layers
        ]
        model(**batch.inputs, use_cache=False)
        for handle in handles:
            handle.remove()
        outputs.remove()
    made, values = outputs.calls[-1], values[-len(outputs.calls[-1]) :]
    for b, one in enumerate(reading.prompts):
        kinds = one.layout.kind[0]
        read = (kinds != 0) & (kinds != 7)
        if rows == "text":
            read = (kinds == 2) & bool((one.layout.image >= 0).any())
        assert one.rows == int(read.sum())
        if not one.rows:
            continue
        for n, weights in enumerate(one.columns):
            value = values[n][b].unflatten(-1, (-1, outputs.width)).transpose(0, 1)
            value = value.repeat_interleave(len(weights) // len(value), 0)
            mean = torch.einsum("as,asd->ad", weights, value)
            assert near(mean, made[n][b, read].mean(0)), (b, n)


@families
@every
def test_generated_rows_are_as_the_model_has_them(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    hosted(model, spec)
    with entered(model, spec, batch):
        plain = model.generate(**batch.inputs, **GENERATE)
    with (
        wheresight.read(model, "attention", rows="last+generated", each=True) as reading,
        entered(model, spec, batch),
    ):
        outputs = Outputs(model)
        out = model.generate(**batch.inputs, **GENERATE)
        outputs.remove()
    assert torch.equal(out.sequences, plain.sequences)
    assert len(reading.prompts) == len(batch.lengths)
    assert len(reading.steps) == GENERATE["max_new_tokens"] - 1
    prompt = batch.inputs["input_ids"].shape[1]
    assert all(one.columns.shape[-1] == prompt for one in reading.prompts)
    for s, step in enumerate(reading.steps):
        calls = outputs.calls[s - len(reading.steps)]
        for b, one in enumerate(step):
            assert one.columns.shape[-1] == prompt + 1 + s
            for n, own in applied(one.columns, out.past_key_values, b).items():
                assert near(own, calls[n][b, -1]), (s, b, n)


@every
def test_other_readings_leave_methods_alone(make_model: Any, make_batch: Any, spec: str) -> None:
    """Inside and outside of the intervention alike."""
    from wheresight.lvlm.readings.moves import reverse, shift

    model, batch = make_model("llava_gqa"), make_batch("llava_gqa", ROWS["llava_gqa"])
    hosted(model, spec)
    moves = [shift(0.0), shift(1.0), reverse()]
    with entered(model, spec, batch):
        plain = model(**batch.inputs).logits
        with (
            wheresight.read(model, "norms") as norms,
            wheresight.read(model, "rotary", moves=moves) as rotary,
            wheresight.read(model, "attention") as attention,
        ):
            inside = model(**batch.inputs).logits
        again = model(**batch.inputs).logits
    with wheresight.read(model, "rotary", moves=moves) as outer, entered(model, spec, batch):
        outside = model(**batch.inputs).logits
    assert same([inside, again, outside], [plain] * 3)
    assert torch.equal(rotary.alpha, outer.alpha)
    assert len(norms.prompts) == len(batch.lengths)
    # What has not moved is what attention is.
    assert near(rotary.alpha[:, 0], rotary.stock)
    assert near(rotary.stock, attention.mass[..., 1])


def test_what_is_not_a_prompt_is_refused(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", ROWS["llava"])
    with pytest.raises(ModelError, match="saw no prompt"), wheresight.read(model, "attention"):
        pass
    with (
        pytest.raises(ModelError, match="no generated token"),
        wheresight.read(model, "attention", rows="generated"),
    ):
        model(**batch.inputs)
    for name, options, said in (
        ("attention", {"rows": "first"}, "expected one of last, text, all"),
        ("attention", {"layers": [2]}, "2 layers"),
        ("norms", {"rows": "last"}, "cannot be made"),
        ("norm", {}, "Did you mean 'norms'"),
    ):
        with pytest.raises(ModelError, match=said), wheresight.read(model, name, **options):
            pass
    with torch.no_grad():
        cache = model(**batch.inputs).past_key_values
        one = batch.inputs["input_ids"][:, -1:]
        outside = pytest.raises(ModelError, match="built outside of the reading")
        with outside, wheresight.read(model, "attention"):
            model(input_ids=one, past_key_values=cache)
