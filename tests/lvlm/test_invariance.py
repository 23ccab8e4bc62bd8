"""What BaPA promises: the order of image tokens is seen through the attention mask alone."""

from __future__ import annotations

import copy
from typing import Any

import torch

import wheresight


def shuffled_logits(
    model: Any, batch: Any, spec: str, **more: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with the image's features in order, and in another order."""
    inputs = {k: v for k, v in batch.inputs.items() if k not in ("pixel_values", *more)}
    with torch.no_grad():
        out = model.model.get_image_features(batch.inputs["pixel_values"], return_dict=True)
        pooled = torch.stack(list(out.pooler_output))
        order = torch.randperm(pooled.shape[1], generator=torch.Generator().manual_seed(3))
        found = []
        for features in (pooled, pooled[:, order]):
            given = copy.copy(out)
            is_tensor = isinstance(out.pooler_output, torch.Tensor)
            given.pooler_output = features if is_tensor else list(features)
            with wheresight.intervene(model, spec):
                found.append(model(**inputs, mm_encoder_outputs={"image": given}, **more).logits)
    return found[0], found[1]


def after_images(batch: Any) -> torch.Tensor:
    """(B, T) bool: text after the last image of a row."""
    column = torch.arange(batch.inputs["input_ids"].shape[1])
    last = torch.tensor([max(first + count for first, count, *_ in own) for own in batch.images])
    return (column[None] >= last[:, None]) & batch.inputs["attention_mask"].bool()


def test_gemma_text_does_not_see_the_order(make_model: Any, make_batch: Any) -> None:
    """Its images attend in both directions; a window that bites would cut by column, so it is wide.

    A sliding window goes by columns, not ids: with a window of 8 columns text sees the last tokens
    of an image only, and their order again (checked below).
    """
    model = make_model("gemma", torch.float64)
    batch = make_batch("gemma", [[2, "i", 3], [1, "i", 3]], dtype=torch.float64)
    text = after_images(batch)
    a, b = shuffled_logits(model, batch, "bapa")
    assert (a - b)[text].abs().max() < 1e-10
    a, b = shuffled_logits(model, batch, "none")
    assert (a - b)[text].abs().max() > 1e-2
    far = make_batch("gemma", [[2, "i", 12]], dtype=torch.float64)
    a, b = shuffled_logits(model, far, "bapa")
    assert (a - b)[after_images(far)].abs().max() > 1e-4


def test_bidirectional_image_attention_on_a_causal_model(
    make_model: Any, make_batch: Any, reference: Any
) -> None:
    """The 2 x 2 of mask and ids: only both together hide the order."""
    model = make_model("llava", torch.float64)
    batch = make_batch("llava", [[2, "i", 2, "i", 5], [1, "i", 5, "i", 5]], dtype=torch.float64)
    text = after_images(batch)
    mask = reference.masks(model, batch, torch.float64, bidirectional=True)["full_attention"]
    both, other = shuffled_logits(model, batch, "bapa", attention_mask=mask)
    assert (both - other)[text].abs().max() < 1e-10
    want = reference.logits(model, batch, reference.bapa_ids(batch), bidirectional=True)
    real = batch.inputs["attention_mask"].bool()
    assert (both - want)[real].abs().max() < 1e-5
    for spec, extra in (("none", {"attention_mask": mask}), ("bapa", {}), ("none", {})):
        a, b = shuffled_logits(model, batch, spec, **extra)
        assert (a - b)[text].abs().max() > 1e-2, (spec, extra.keys())
