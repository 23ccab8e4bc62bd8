"""Skeletons: real architectures with random weights, to try memory, speed and plans on.

`skeleton:NAME` has the layers, heads, vocabulary and image tokens of a published model;
`skeleton:NAME-quarter` has a quarter of its width, heads and layers (about 1/64 of the arithmetic)
and the same vocabulary and image tokens. What it answers is noise.

Importing this package is cheap; torch is imported only where a model is built.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["CAUTION", "PREFIX", "QUARTER", "about", "is_skeleton", "names"]

PREFIX = "skeleton:"
QUARTER = "-quarter"
CAUTION = (
    "The model is a skeleton with random weights: its answers are noise, and nothing here says "
    "anything about any model. Only times, memory and counts mean something."
)
_CONFIGURATIONS = Path(__file__).resolve().parent / "configurations"


def is_skeleton(model: str) -> bool:
    """Does this name of a model ask for random weights?"""
    return model.startswith(PREFIX)


def names() -> list[str]:
    """Every skeleton as --model takes it, full size first and its quarter after it."""
    full = sorted(file.stem for file in _CONFIGURATIONS.glob("*.json"))
    return [PREFIX + name + size for name in full for size in ("", QUARTER)]


def about(name: str) -> str:
    """What a skeleton is, in a line; ``name`` is one of `names`."""
    full = name.removeprefix(PREFIX).removesuffix(QUARTER)
    told = json.loads((_CONFIGURATIONS / f"{full}.json").read_text(encoding="utf-8"))
    if name.endswith(QUARTER):
        return "a quarter of that width, heads and layers, random weights"
    return f"{told['published']}, {told['parameters'] / 1e9:.1f} G parameters, random weights"
