"""Qwen3-VL: M-RoPE with interleaved frequencies, and image features added between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from wheresight.lvlm.families.family import join, pick
from wheresight.lvlm.families.m_rope import MRope


class Qwen3VL(MRope):
    """Qwen3VLForConditionalGeneration, still images only.

    Its rotary module deals the frequencies out to time, height and width in turn, where its
    forebears give each a section; the ids are the same. What it adds to image tokens after the
    first layers (deepstack) is looked up by the placeholders' columns, and does not see ids.
    """

    name: ClassVar[str] = "qwen3_vl"
    model_class: ClassVar[str] = "Qwen3VLForConditionalGeneration"
    deepstack: ClassVar[str | None] = "deepstack_visual_embeds"

    def take_features(self, outputs: Any, counts: Sequence[int], pictures: Sequence[int]) -> Any:
        """As in the other families, and what is added in each of the first layers with them."""
        taken = super().take_features(outputs, counts, pictures)
        taken.deepstack_features = [
            pick(features, counts, pictures) for features in outputs.deepstack_features
        ]
        return taken

    def join_features(self, parts: Sequence[Any]) -> Any:
        """As in the other families, and what is added in each of the first layers with them."""
        joined = super().join_features(parts)
        of_layers = zip(*(part.deepstack_features for part in parts), strict=True)
        joined.deepstack_features = [join(of_layer) for of_layer in of_layers]
        return joined
