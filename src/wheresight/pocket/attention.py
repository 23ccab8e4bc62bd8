"""Which attention function the small models are trained with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def plain_attention(part: Any) -> Iterator[None]:
    """Eager attention in a tower or decoder; on the way out, what was set before.

    For a few dozen tokens, and for packed rows of a few hundred, plain matrix products are faster
    on a CPU than the fused kernel, above all on the way back.
    """
    before = part.config._attn_implementation
    part.set_attn_implementation("eager")
    try:
        yield
    finally:
        part.set_attn_implementation(before)
