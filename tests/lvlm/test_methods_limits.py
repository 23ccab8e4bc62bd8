"""Where two methods must be one, or none at all: bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight

sys.path.insert(0, str(Path(__file__).parent))
import by_hand as hand

families = pytest.mark.parametrize("kind", hand.FAMILIES)
ROWS: dict[str, list[list[Any]]] = {
    "llava": [[2, "i", 2, "i", 6], [3, "i", 5], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6], [7]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4], [6]],
    "qwen": [[3, (2, 3), 2, (4, 5), 2], [1, (3, 3), 3], [5]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
}
NOTHING = [
    "scalingvis:alpha=1",
    "scalingvis:alpha=1,rows=text",
    "temperature:alpha=1",
    "shift:amount=0",
    "adaptvis:low=1,high=1",
    "uac:strength=0",
    "agci:lambda=0",
    "normalize:strength=0",
    "normalize:mode=global,strength=0",
    "drop:fraction=0",
    "pool:side=9",
    "pool_broadcast:side=9",
]


def outputs(model: Any, batch: Any, spec: str) -> tuple[torch.Tensor, ...]:
    with torch.no_grad(), wheresight.intervene(model, spec):
        logits = model(**batch.inputs).logits
        out = model.generate(
            **batch.inputs,
            max_new_tokens=3,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return logits, out.sequences, torch.stack(out.logits)


@families
@pytest.mark.parametrize("spec", NOTHING)
def test_nothing_is_none_bit_for_bit(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    for a, b in zip(outputs(model, batch, "none"), outputs(model, batch, spec), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("more", ["", ",layers=even"])
def test_a_circle_without_radius_is_bapa(make_model: Any, make_batch: Any, more: str) -> None:
    model, batch = make_model("qwen"), make_batch("qwen", ROWS["qwen"])
    bapa = "bapa" + more.replace(",", ":", 1)
    a = outputs(model, batch, f"circle:radius=0{more}")
    b = outputs(model, batch, bapa)
    assert torch.equal(a[1], b[1])
    assert hand.difference(a[0], b[0], batch) < 1e-6
    assert (a[2] - b[2]).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["llava", "llava_gqa", "qwen", "gemma"])
def test_pype_that_has_come_down_is_bapa_with_images_seen_whole(
    make_model: Any, make_batch: Any, kind: str
) -> None:
    """With two rings, from the second layer on."""
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    a = outputs(model, batch, "pype:jump=1,layers=1")
    b = outputs(model, batch, "bapa:layers=1+mask:bidirectional,layers=1")
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(a[0], outputs(model, batch, "bapa:layers=1")[0]) or kind == "gemma"


@families
def test_bapa_cross_with_one_token_images_is_stock(
    make_model: Any, make_batch: Any, kind: str
) -> None:
    """One token takes one id either way, so both frames are the stock one, up to rounding."""
    if kind != "qwen":
        pytest.skip("its images have one size")
    model = make_model("qwen")
    batch = make_batch("qwen", [[3, (1, 1), 4], [2, (1, 1), 1, (1, 1), 5]])
    a, b = outputs(model, batch, "bapa_cross"), outputs(model, batch, "none")
    assert hand.difference(a[0], b[0], batch) < 1e-5


@families
def test_drawing_images_together_twice(make_model: Any, make_batch: Any, kind: str) -> None:
    """Reversing equal ids changes nothing, and what reverses twice is as it was."""
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    for a, b in zip(
        outputs(model, batch, "bapa+reverse"), outputs(model, batch, "bapa"), strict=True
    ):
        assert torch.equal(a, b)


def attentions(model: Any, batch: Any, spec: str) -> list[torch.Tensor]:
    with torch.no_grad(), wheresight.intervene(model, spec):
        return list(model(**batch.inputs, output_attentions=True).attentions)


@families
@pytest.mark.parametrize("spec", ["normalize:mode=global", "normalize:mode=text_mean"])
def test_lengths_of_image_tokens_do_not_reach_the_first_attention(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    """RMSNorm takes them away there; they act through the residual stream, a layer later."""
    model, batch = make_model(kind, attention="eager"), make_batch(kind, ROWS[kind])
    stock, changed = attentions(model, batch, "none"), attentions(model, batch, spec)
    real = hand.real_of(batch)
    pairs = [(a - b).abs().amax(1)[real].max() for a, b in zip(stock, changed, strict=True)]
    assert pairs[0] < 1e-4
    assert pairs[1] > 1e-3
