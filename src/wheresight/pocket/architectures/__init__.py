"""The pocket family: one recipe, one budget, several stock classes."""

from __future__ import annotations

from typing import Any

from wheresight.errors import WheresightError, unknown_name
from wheresight.pocket.architectures.architecture import Architecture
from wheresight.pocket.architectures.gemma3 import Gemma3
from wheresight.pocket.architectures.llava import Llava
from wheresight.pocket.architectures.qwen2_5_vl import Qwen25VL

ARCHITECTURES: dict[str, Architecture] = {a.name: a for a in (Llava(), Qwen25VL(), Gemma3())}


def architecture(name: str) -> Architecture:
    """By the name of its ``model_type``.

    Raises:
        WheresightError: a name that is none of them.
    """
    if name not in ARCHITECTURES:
        raise WheresightError(unknown_name("architecture", name, ARCHITECTURES))
    return ARCHITECTURES[name]


def architecture_of(model: Any) -> Architecture:
    """That of a model."""
    return architecture(model.config.model_type)
