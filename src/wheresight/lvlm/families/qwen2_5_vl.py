"""Qwen2.5-VL."""

from __future__ import annotations

from typing import ClassVar

from wheresight.lvlm.families.m_rope import MRope


class Qwen2_5_VL(MRope):  # noqa: N801 (the family's own spelling)
    """Qwen2_5_VLForConditionalGeneration, still images only."""

    name: ClassVar[str] = "qwen2_5_vl"
    model_class: ClassVar[str] = "Qwen2_5_VLForConditionalGeneration"
