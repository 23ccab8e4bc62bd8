"""SmolVLM: Idefics3 with smaller parts."""

from __future__ import annotations

from typing import ClassVar

from wheresight.lvlm.families.idefics3 import Idefics3


class SmolVLM(Idefics3):
    """SmolVLMForConditionalGeneration.

    As in Idefics3, each run of image tokens (tile) counts as an image of its own. Its processor
    turns a video into images, and these are served as such.
    """

    name: ClassVar[str] = "smolvlm"
    model_class: ClassVar[str] = "SmolVLMForConditionalGeneration"
