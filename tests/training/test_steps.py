"""A step is the sum of its rows, whatever the padding and the company, and moves LoRA alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from by_rows import adapted, is_the_sum, summed_loss

import wheresight
from wheresight.errors import ModelError, SpecError
from wheresight.interventions.registry import known_interventions
from wheresight.interventions.spec import canonical, example, parse
from wheresight.training.adapted import linear_modules, refuse_untrainable, targets

FAMILIES = ("llava", "llava_next", "qwen2_5_vl", "gemma3")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_is_the_sum_of_its_rows(
    family: str, side: str, tiny: Any, rows: Any, pictures_of: Any
) -> None:
    """Under bapa: three pictures beside one beside none. Trained alone, each row has no padding."""
    lvlm, collator = tiny(family, side)
    model = adapted(lvlm)
    made = [collator.row(one, pictures_of(one)) for one in rows]
    # Padding on the left moves ids, and angles are computed from ids in float32.
    whole = is_the_sum(model, collator, made, "bapa", 1e-5 if side == "left" else 1e-10)
    # What is compared would be another without the intervention.
    plain = summed_loss(model, collator.batch(made))
    assert abs(plain.item() - whole) > 1e-3


@pytest.mark.parametrize("name", known_interventions())
def test_under_every_intervention_that_can_be_trained_under(
    name: str, tiny: Any, rows: Any, pictures_of: Any
) -> None:
    """Padded on the right, in the first of two families that can host it."""
    spec = canonical(example(name))
    try:
        refuse_untrainable(spec)
    except SpecError:
        assert any("attention" in part.acting() for part in parse(spec))
        return
    for family in ("llava", "qwen2_5_vl"):
        lvlm, collator = tiny(family)
        host = lvlm.family.host(lvlm.core.config)
        if all(part.refuses(host) is None for part in parse(spec)):
            made = [collator.row(one, pictures_of(one)) for one in rows]
            # Some compute rows of attention again in float32.
            is_the_sum(adapted(lvlm), collator, made, spec, 1e-5)
            return
    assert name in ("multilayer", "id_align")  # these want a deep tower, or thumbnails


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("parts", ["language_model", "language_model+projector"])
def test_gradients_reach_what_is_meant_and_nothing_else(
    family: str, parts: str, tiny: Any, rows: Any, pictures_of: Any
) -> None:
    lvlm, collator = tiny(family)
    if family == "gemma3" and parts.endswith("projector"):
        with pytest.raises(ModelError, match="no linear layer"):
            adapted(lvlm, parts)
        return
    before = {n: p.detach().clone() for n, p in lvlm.core.named_parameters()}
    inside = linear_modules(lvlm, targets(parts))
    model = adapted(lvlm, parts)
    with wheresight.intervene(model, "bapa"):
        batch = collator.batch([collator.row(one, pictures_of(one)) for one in rows])
        summed_loss(model, batch).backward()
    prefix = "base_model.model."
    meant = {f"{prefix}{m}.lora_{ab}.default.weight" for m in inside for ab in "AB"}
    got = {n for n, p in model.named_parameters() if p.grad is not None}
    assert got == meant == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad.abs().max() > 0 for p in model.parameters() if p.requires_grad)
    # All of the language model's weights but embeddings, norms and the output layer.
    linear = {n.rpartition(".")[0] for n in before if "language_model.layers" in n and
              before[n].ndim == 2}  # fmt: skip
    assert {m for m in inside if "language_model" in m} == linear
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    after = {n.replace(".base_layer", ""): p for n, p in lvlm.core.named_parameters()
             if "lora" not in n}  # fmt: skip
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_attention_at_the_end_of_a_prompt_cannot_be_trained_under() -> None:
    for spec in ("scalingvis:alpha=0.8", "bapa+uac", "adaptvis"):
        with pytest.raises(SpecError, match="prompt and answer are one text"):
            refuse_untrainable(spec)
    for spec in ("none", "bapa", "bapa+mask:bidirectional", "agci:lambda=0.3", "mask:causal"):
        refuse_untrainable(spec)
