"""Every registered method in every kind of call: cached, batched, entered and left."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight
from wheresight.errors import ModelError, SpecError
from wheresight.interventions import known_interventions
from wheresight.interventions.spec import example, parse

sys.path.insert(0, str(Path(__file__).parent))
import by_hand as hand
from test_parity import pick

ROWS: dict[str, list[list[Any]]] = {
    "llava": [[2, "i", 2, "i", 6], [3, "i", 5], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6], [7]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4], [6]],
    "qwen": [[3, (2, 3), 2, (4, 5), 2], [1, (3, 3), 3], [5]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
}
# Where the example is not for tiny models, or a second set of parameters goes another way.
OTHERS = {
    "multilayer": ["multilayer:layers=1"],
    "adaptvis": ["adaptvis:threshold=0.3,low=0.2,high=2"],
    "mask": ["mask:bidirectional", "mask:ids", "mask:ring", "mask:causal"],
    "scalingvis": ["scalingvis:alpha=3", "scalingvis:alpha=0.5,rows=text"],
    "circle": ["circle:radius=4,layers=even"],
}
SPECS = [
    spec for name in known_interventions() for spec in OTHERS.get(name, [str(example(name))])
] + ["pool:side=2+bapa_cross+mask:bidirectional+scalingvis:alpha=2", "cca+reverse+uac+agci"]
SPECS.remove("none")
every = pytest.mark.parametrize("spec", SPECS)
families = pytest.mark.parametrize("kind", hand.FAMILIES)


def hosted(model: Any, spec: str) -> None:
    host = wheresight.wrap(model).family.host(model.config)
    for part in parse(spec):
        reason = part.refuses(host)
        if reason:
            with pytest.raises(SpecError), wheresight.intervene(model, spec):
                pass
            pytest.skip(reason)


@pytest.fixture
def make(make_model: Any, make_batch: Any) -> Any:
    def made(kind: str, spec: str, attention: str = "sdpa", rows: Any = None) -> Any:
        model = make_model(kind, attention=attention)
        hosted(model, spec)
        return model, make_batch(kind, rows or ROWS[kind])

    return made


def blank(batch: Any) -> dict[str, Any]:
    pixels = torch.zeros_like(batch.inputs["pixel_values"])
    return {**batch.inputs, "pixel_values": pixels}


@contextmanager
def entered(model: Any, spec: str, batch: Any) -> Any:
    """Under a spec; what is calibrated is so on the whole batch."""
    with torch.no_grad(), wheresight.intervene(model, spec) as active:
        if any(i.needs_blank for i in active.interventions):
            active.calibrate(**blank(batch))
        yield active


def shown(model: Any, batch: Any, spec: str) -> torch.Tensor:
    """(B, T) bool: real tokens that nothing has taken away."""
    from wheresight.lvlm.layout import Kind

    layout = wheresight.wrap(model).layout(batch.inputs)
    for part in parse(spec):
        layout = part.relayout(layout)
    return hand.real_of(batch) & (layout.kind != Kind.HIDDEN)


OPTIONS = {
    "max_new_tokens": 3,
    "do_sample": False,
    "output_logits": True,
    "return_dict_in_generate": True,
}


@families
@every
def test_cached_decoding_is_uncached(make: Any, kind: str, spec: str) -> None:
    """Methods that act on the prompt's rows alone are compared in test_methods_generate."""
    model, batch = make(kind, spec)
    with entered(model, spec, batch) as active:
        prompt_only = any(
            "attention" in i.acting() and not i.decoding for i in active.interventions
        )
        if prompt_only:
            with pytest.raises(ModelError, match="use_cache=False"):
                model.generate(**batch.inputs, **OPTIONS, use_cache=False)
            return
        cached = model.generate(**batch.inputs, **OPTIONS)
        whole = model.generate(**batch.inputs, **OPTIONS, use_cache=False)
        first = model(**batch.inputs).logits[:, -1]
    a, b = torch.stack(cached.logits), torch.stack(whole.logits)
    assert torch.equal(cached.sequences, whole.sequences)
    assert (a - b).abs().max() < 1e-4
    assert (a[0] - first).abs().max() < 1e-4


@families
@every
def test_a_batch_is_each_row_alone(make: Any, kind: str, spec: str) -> None:
    model, batch = make(kind, spec)
    keep = shown(model, batch, spec)
    width = keep.shape[1]
    with entered(model, spec, batch):
        together = model(**batch.inputs).logits
        for b, length in enumerate(batch.lengths):
            if batch.images[b]:
                row = pick(kind, batch, [b], trim=width - length)
            else:
                names = ("input_ids", "attention_mask")
                row = {k: batch.inputs[k][b : b + 1, width - length :] for k in names}
            alone = model(**row).logits[0]
            near = (alone - together[b, width - length :])[keep[b, width - length :]].abs().max()
            assert near < 2e-4, b


def hooks(model: Any) -> list[int]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    return [len(getattr(m, kind)) for m in model.modules() for kind in kinds]


def outputs(model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        logits = model(**batch.inputs).logits
        out = model.generate(**batch.inputs, **OPTIONS)
    return logits, out.sequences, torch.stack(out.logits)


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@families
@every
def test_leaving_restores_the_model(make: Any, kind: str, spec: str) -> None:
    model, batch = make(kind, spec)
    before = outputs(model, batch)
    counted = hooks(model)
    attributes = {name: set(vars(m)) for name, m in model.named_modules()}
    settings = [m.config._attn_implementation for m in (model, hand.language(model))]

    def restored() -> None:
        assert hooks(model) == counted
        assert {name: set(vars(m)) for name, m in model.named_modules()} == attributes
        assert "generate" not in vars(model)
        assert [m.config._attn_implementation for m in (model, hand.language(model))] == settings
        assert same(outputs(model, batch), before)

    with wheresight.intervene(model, spec):
        inside = outputs(model, batch)
    name = spec.partition(":")[0]
    if not (name == "mask" or (kind == "gemma" and name.startswith("pool"))):  # may change nothing
        assert not torch.equal(inside[0], before[0])
    restored()

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    handle = hand.language(model).layers[1].self_attn.o_proj.register_forward_pre_hook(fail)
    with torch.no_grad(), pytest.raises(ZeroDivisionError), wheresight.intervene(model, spec):
        model(**batch.inputs)
    with torch.no_grad(), pytest.raises(ZeroDivisionError), wheresight.intervene(model, spec):
        model.generate(**batch.inputs, **OPTIONS)
    handle.remove()
    restored()


@families
@every
def test_eager_is_sdpa(make: Any, make_model: Any, kind: str, spec: str) -> None:
    model, batch = make(kind, spec)
    eager = make_model(kind, attention="eager")
    keep = shown(model, batch, spec)
    with entered(model, spec, batch):
        a = outputs(model, batch)
    with entered(eager, spec, batch):
        b = outputs(eager, batch)
    assert (a[0] - b[0])[keep].abs().max() < 2e-4
    assert torch.equal(a[1], b[1])


@families
@every
def test_text_alone_is_stock_bit_for_bit(make: Any, kind: str, spec: str) -> None:
    """Also after a batch with images; and a row without image beside rows that have some."""
    model, batch = make(kind, spec)
    texts = [[6], [4]]
    _, text = make(kind, spec, rows=texts)
    before, mixed = outputs(model, text), None
    row = next(b for b, own in enumerate(batch.images) if not own)
    with torch.no_grad():
        mixed = model(**batch.inputs).logits[row]
    with entered(model, spec, batch):
        got = model(**batch.inputs).logits[row]
        after = outputs(model, text)
    assert same(before, after)
    real = hand.real_of(batch)[row]
    assert torch.equal(got[real], mixed[real])


@pytest.mark.parametrize("kind", ["llava_gqa", "qwen", "gemma"])
@pytest.mark.parametrize("spec", [s for s in SPECS if not s.startswith("adaptvis")])
def test_bfloat16_is_near(
    make: Any, make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, batch = make(kind, spec)
    keep = shown(model, batch, spec)
    with entered(model, spec, batch):
        exact = model(**batch.inputs).logits
    half = make_model(kind, torch.bfloat16)
    rounded = make_batch(kind, ROWS[kind], dtype=torch.bfloat16)
    with entered(half, spec, rounded):
        got = half(**rounded.inputs).logits
        half.generate(**rounded.inputs, **OPTIONS)
    assert got.dtype == torch.bfloat16
    error = (got.float() - exact)[keep].pow(2).mean().sqrt()
    assert error < 0.15 * exact[keep].std()
