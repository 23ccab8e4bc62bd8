"""Loss and gradients of a batch, and of its rows one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import wheresight
from wheresight.lvlm.wrapper import LVLM
from wheresight.training.adapted import add_lora, targets
from wheresight.training.collate import IGNORED, Collator, TrainingRow


def adapted(lvlm: LVLM, parts: str = "language_model") -> Any:
    """The model with LoRA layers that do something."""
    model = add_lora(lvlm, targets(parts), rank=2, alpha=4.0, dropout=0.0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.3, generator=generator)
    return model.train()


def summed_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy summed over the learned tokens, by hand from the logits."""
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    logits = model(**inputs, use_cache=False).logits[:, :-1].double()
    wanted = batch["labels"][:, 1:]
    chosen = wanted != IGNORED
    logp = logits.log_softmax(-1)[chosen].gather(1, wanted[chosen][:, None])
    return -logp.sum()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def is_the_sum(
    model: Any, collator: Collator, made: list[TrainingRow], spec: str, tolerance: float
) -> float:
    """Compare loss and gradients of a batch with the sum of its rows'; return the loss."""
    with wheresight.intervene(model, spec):
        losses = []
        for row in made:
            loss = summed_loss(model, collator.batch([row]))
            loss.backward()  # adds to what the other rows left
            losses.append(loss.item())
        alone = gradients(model)
        whole = summed_loss(model, collator.batch(made))
        whole.backward()
    together = gradients(model)
    assert whole.item() == pytest.approx(sum(losses), rel=tolerance)
    assert together.keys() == alone.keys()
    scale = max(g.abs().max().item() for g in alone.values())
    assert scale > 1e-3
    for name, gradient in alone.items():
        assert (together[name] - gradient).abs().max().item() < tolerance * scale, name
    return whole.item()
