"""Batches of rendered prompts for `generate`, padded on the left.

Legend: B prompts, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from wheresight.lvlm.wrapper import LVLM


def pad_id(tokenizer: Any) -> int:
    """The token that pads; that which ends a text, where a tokenizer has none of its own."""
    pad = tokenizer.pad_token_id
    return int(pad if pad is not None else tokenizer.eos_token_id)


def left_padded(
    lvlm: LVLM, texts: Sequence[str], pictures: Sequence[Sequence[Image.Image]], *, special: bool
) -> dict[str, Any]:
    """Inputs of a model, (B, T) tokens and pixels in its dtype, on its device.

    Args:
        lvlm: with its processor.
        texts: prompts as the chat template renders them.
        pictures: of each prompt, equally many; none at all where the prompts have none.
        special: whether the tokenizer is to put its own tokens around the prompts.
    """
    import torch

    out = lvlm.processor(
        text=list(texts),
        images=[list(own) for own in pictures] if pictures[0] else None,
        padding=True,
        padding_side="left",
        add_special_tokens=special,
        return_tensors="pt",
    )
    inputs: dict[str, Any] = {}
    for key, value in out.items():
        if key == "labels" or not isinstance(value, torch.Tensor):  # labels are for training
            continue
        inputs[key] = lvlm.send(value.to(lvlm.dtype) if value.is_floating_point() else value)
    return inputs
