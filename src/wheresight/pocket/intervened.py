"""Packed rows through the whole model, where interventions act: to train under one of them.

`packing.hidden_states` calls the decoder alone, with positions and a mask of its own. Here the same
row, positions and mask go in at the front, with its token ids, so that a block of
`wheresight.intervene` finds the picture in them and rewrites features, positions and mask as it
does for a single prompt. It is exact because every position method moves all text behind a picture
by one constant: the questions of a packed row, which all begin at the same position, still do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.pocket.architectures import architecture_of
from wheresight.pocket.packing import Packed

if TYPE_CHECKING:
    import torch

_SERVED = ("llava",)


def hidden_states(model: Any, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """(B, L, D): the decoder's last hidden states, under whatever block the model is in.

    Args:
        model: the pocket model, or what is inside a PEFT model.
        packed: B rows.
        features: (B, N, D), tokens of each row's picture, as `image_features` gives them. Methods
            on the vision tower act when these are made; all others act here.

    Raises:
        ModelError: an architecture whose packed positions or masks the whole model does not take.
    """
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    kind = architecture_of(model)
    if kind.name not in _SERVED:
        raise ModelError(
            f"Packed rows of {kind.name!r} were given, and only those of {', '.join(_SERVED)} can "
            "go through the whole model. Give one question a row, unpacked."
        )
    pictures: Any = list(features)  # one (N, D) a picture; the class is typed for a tensor
    output = model.model(
        input_ids=packed.ids,
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=pictures)},
        attention_mask=_mask(model, packed.allowed),
        position_ids=packed.positions,
        use_cache=False,
    )
    states: torch.Tensor = output.last_hidden_state
    return states


def _mask(model: Any, allowed: torch.Tensor) -> torch.Tensor:
    """What may be attended to, in the form and number type that the decoder's attention takes."""
    import torch

    from wheresight.lvlm.columns import as_taken

    kind = model.model.language_model.config._attn_implementation
    half = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if half else model.dtype
    return as_taken(allowed, kind, dtype)
