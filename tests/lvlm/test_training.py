"""Training and adapters: gradients, checkpointing, LoRA."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch

import wheresight
from wheresight.errors import ModelError


def train_mode(model: Any) -> Any:
    return model.float().train()


def loss_of(model: Any, batch: Any) -> torch.Tensor:
    labels = batch.inputs["input_ids"].masked_fill(batch.inputs["attention_mask"] == 0, -100)
    labels = labels.masked_fill(labels == 90, -100)
    return model(**batch.inputs, labels=labels, use_cache=False).loss


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def worst(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    assert a
    scale = max(g.abs().max().item() for g in a.values())
    return max((a[n] - b[n]).abs().max().item() for n in a) / scale


def test_gradients_equal_those_of_explicit_ids(
    family: str, rows: Any, make_model: Any, make_batch: Any, reference: Any
) -> None:
    """The stock model given BaPA's ids by its own argument, in a padded batch where that works."""
    model, batch = train_mode(make_model(family)), make_batch(family, rows, "right")
    ids = reference.bapa_ids(batch)
    with wheresight.intervene(model, "bapa"):
        loss = loss_of(model, batch)
    loss.backward()
    got = gradients(model)
    if family == "gemma":
        ids = ids.expand(len(rows), -1)
    elif family.startswith("qwen"):
        ids = ids.expand(3, -1, -1)
    batch.inputs["position_ids"] = ids
    explicit = loss_of(model, batch)
    explicit.backward()
    assert abs(loss - explicit) < 1e-5
    assert worst(got, gradients(model)) < 1e-4


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_gradient_checkpointing(
    family: str, rows: Any, make_model: Any, make_batch: Any, reentrant: bool, where: str
) -> None:
    """Traps 7 and 8: layers are run again in backward, also after the block was left."""
    model, batch = train_mode(make_model(family)), make_batch(family, rows)
    model.enable_input_require_grads()
    with wheresight.intervene(model, "bapa"):
        loss_of(model, batch).backward()
    plain = gradients(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    with wheresight.intervene(model, "bapa"):
        loss = loss_of(model, batch)
        if where == "inside":
            loss.backward()
    if where == "outside":
        loss.backward()
    assert worst(plain, gradients(model)) < 1e-5


def lora(model: Any, **more: Any) -> Any:
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=r".*(language|text)_model.*(q_proj|v_proj)", **more
    )
    return peft.get_peft_model(model, config)


def test_lora(family: str, rows: Any, make_model: Any, make_batch: Any) -> None:
    """Zero adapters change nothing; trained ones act, under BaPA; disabled ones are gone."""
    model, batch = make_model(family), make_batch(family, rows)
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        plain = model(**batch.inputs).logits
    adapted = lora(model)
    adapted.eval()
    with torch.no_grad(), wheresight.intervene(adapted, "bapa"):
        assert torch.equal(adapted(**batch.inputs).logits, plain)
    adapted.train()
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    with wheresight.intervene(adapted, "bapa") as active:
        losses = []
        for _ in range(3):
            loss = loss_of(adapted, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        adapted.eval()
        with torch.no_grad():
            trained = adapted(**batch.inputs).logits
            with adapted.disable_adapter():
                assert torch.equal(adapted(**batch.inputs).logits, plain)
            tokens = adapted.generate(**batch.inputs, max_new_tokens=3, do_sample=False)
            again = adapted.generate(
                **batch.inputs, max_new_tokens=3, do_sample=False, use_cache=False
            )
    assert active.calls == 5 + 3 + 3
    assert losses[-1] < losses[0]
    assert torch.equal(tokens, again)
    assert (trained - plain).abs().max() > 1e-3
    # The core inside is the same model: intervening on it acts on the adapted one too.
    with torch.no_grad(), wheresight.intervene(adapted.get_base_model(), "bapa"):
        assert torch.equal(adapted(**batch.inputs).logits, trained)


def test_prompt_learning_is_refused(make_model: Any) -> None:
    model = make_model("llava")
    config = peft.PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=3,
        token_dim=64,
        num_transformer_submodules=1,
        num_attention_heads=4,
        num_layers=2,
    )
    tuned = peft.PeftModelForCausalLM(model, config)
    with pytest.raises(ModelError, match="virtual tokens before the prompt"):
        wheresight.wrap(tuned)
