"""Gemma 3: one fixed square grid an image, attended to in both directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from wheresight.lvlm.families.family import Family, refuse_missing_types
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class Gemma3(Family):
    """Gemma3ForConditionalGeneration.

    Its base module builds the masks (sliding and full) before the language model runs, and its
    rotary module is called once for each of the two layer types, with the same ids.
    """

    name: ClassVar[str] = "gemma3"
    model_class: ClassVar[str] = "Gemma3ForConditionalGeneration"

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """The same for every image: the square grid that the projector pools to."""
        side = math.isqrt(model.config.mm_tokens_per_image)
        return ImageSizes([ImageTokens(side, side)], same=True)

    def check(self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]) -> None:
        """Refuse images that stock transformers would let attend in one direction only."""
        refuse_missing_types(
            inputs,
            runs,
            "the model would not let the tokens of an image attend to each other in both "
            "directions",
        )
