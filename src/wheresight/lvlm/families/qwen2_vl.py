"""Qwen2-VL."""

from __future__ import annotations

from typing import ClassVar

from wheresight.lvlm.families.m_rope import MRope


class Qwen2VL(MRope):
    """Qwen2VLForConditionalGeneration, still images only."""

    name: ClassVar[str] = "qwen2_vl"
    model_class: ClassVar[str] = "Qwen2VLForConditionalGeneration"
