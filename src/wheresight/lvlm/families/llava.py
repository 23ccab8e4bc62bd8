"""LLaVA-1.5: one fixed square grid an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from wheresight.lvlm.families.selecting_tower import SelectingTower
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class Llava(SelectingTower):
    """LlavaForConditionalGeneration with a CLIP or SigLIP tower and any text tower."""

    name: ClassVar[str] = "llava"
    model_class: ClassVar[str] = "LlavaForConditionalGeneration"

    def unsupported(self, config: Any) -> str | None:
        """Pixtral towers break each image row by a text token, which needs its own adapter."""
        tower = config.vision_config.model_type
        if tower == "pixtral":
            return "Its vision tower is a pixtral, whose images are broken up by text tokens."
        return None

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """The same for every image: side x side patches, by the vision tower's configuration."""
        config = model.config
        vision = config.vision_config
        side = vision.image_size // vision.patch_size
        # CLIP puts a class token in front, which the "default" strategy takes away again.
        has_class_token = "clip" in vision.model_type and "siglip" not in vision.model_type
        tokens = ImageTokens(side, side)
        if config.vision_feature_select_strategy == "full" and has_class_token:
            tokens = ImageTokens(side, side, loose=1)
        elif config.vision_feature_select_strategy == "default" and not has_class_token:
            # There the strategy takes the first patch away, and no full grid is left.
            tokens = ImageTokens(0, 0, loose=side * side - 1)
        return ImageSizes([tokens], same=True)
