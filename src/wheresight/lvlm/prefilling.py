"""Prefill tokens of which nothing but their keys and values will be read.

Behind the keys of the last layer no later token looks at them, so that layer's attention, its
projection and its feed-forward part are left out. What is cached is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wheresight.lvlm.wrapper import LVLM


class _Cached(Exception):  # noqa: N818 (no error: it leads out of the layer)
    """The last layer's keys and values are in the cache."""


class _LeadsOut:
    """A cache that leads out of the layer which adds to it."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Add keys and values, and leave the layer."""
        self._cache.update(*args, **kwargs)
        raise _Cached


@contextmanager
def keys_alone(lvlm: LVLM) -> Iterator[None]:
    """Calls of the model in this block fill their cache; their logits mean nothing.

    A model runs as it is where somebody looks into its last layer, or moves its weights about, and
    where it has one layer alone, in which a seam might not be reached.
    """
    *others, last = lvlm.family.layers(lvlm.core)
    parts = [*last.modules()]
    if not others or any(part._forward_hooks or hasattr(part, "_hf_hook") for part in parts):
        yield
        return
    whole, own = last.forward, last.__dict__.get("forward")

    def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("past_key_values") is None:
            return whole(hidden_states, *args, **kwargs)
        leading = {**kwargs, "past_key_values": _LeadsOut(kwargs["past_key_values"])}
        try:
            return whole(hidden_states, *args, **leading)
        except _Cached:
            return hidden_states

    last.forward = forward
    try:
        yield
    finally:
        if own is None:
            del last.forward
        else:
            last.forward = own
