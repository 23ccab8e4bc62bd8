"""Let a language model use its own attention function with ours around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from wheresight.errors import ModelError
from wheresight.lvlm.seams.attention_rows import Given

# Name of the argument that carries the work through the layers to the attention function. An
# argument and not a global, so that a layer that is run again for its gradient is given it again.
ARGUMENT = "wheresight"
# The same for what only looks on: it is called with what was given, and with the work.
READERS = "wheresight_readers"
_PREFIX = "wheresight|"


class SwitchedAttention:
    """The attention setting of one module, switched to ours until `remove`."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.before = module.config._attn_implementation
        name = self.before if self.before.startswith(_PREFIX) else _register(module, self.before)
        module.set_attn_implementation(name)

    def remove(self) -> None:
        """Put the former setting back."""
        self.module.set_attn_implementation(self.before)


def _register(module: Any, base: str) -> str:
    """Make our form of an attention function known to transformers, masks and all."""
    name = f"{_PREFIX}{base}"
    eager = _eager_of(module) if base == "eager" else None
    # The eager function is that of the model's own file, so it is registered anew for each model.
    if eager is not None:
        name = f"{_PREFIX}{eager.__module__.rsplit('.', 1)[-1]}|eager"
    if name not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(name, _wrapped(eager or ALL_ATTENTION_FUNCTIONS[base]))
        # Without it the mask would silently be None.
        ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    return name


def _eager_of(module: Any) -> Any:
    for part in module.modules():
        if hasattr(part, "layer_idx") and hasattr(part, "q_proj"):
            for cls in type(part).__mro__:
                found = getattr(sys.modules[cls.__module__], "eager_attention_forward", None)
                if found is not None:
                    return found
    raise ModelError(
        "The eager attention of this model cannot be found. Load the model with "
        "attn_implementation='sdpa'."
    )


def _wrapped(base: Callable[..., Any]) -> Callable[..., Any]:
    def attention(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: Any,
        scaling: float | None = None,
        **more: Any,
    ) -> Any:
        work, look = more.pop(ARGUMENT, None), more.pop(READERS, None)
        if work is None and look is None:
            return base(module, query, key, value, attention_mask, scaling=scaling, **more)
        given = Given(module, query, key, value, attention_mask, scaling, more)
        out, weights = None if work is None else work.attended(given), None
        if out is None:
            out, weights = base(module, query, key, value, attention_mask, scaling=scaling, **more)
        if work is not None:
            out = work.changed(given, out)
        if look is not None:
            look(given, work)
        return out, weights

    return attention
