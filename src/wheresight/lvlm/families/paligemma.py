"""PaliGemma 1 and 2: one fixed square grid an image, and a prompt that sees all of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from wheresight.errors import ModelError
from wheresight.lvlm.families.family import Family, refuse_missing_types
from wheresight.lvlm.layout import ImageTokens
from wheresight.lvlm.spans import ImageSizes, Run


class PaliGemma(Family):
    """PaliGemmaForConditionalGeneration with a Gemma or Gemma 2 text tower.

    All tokens of a prompt attend to each other (token type 0); only a suffix in training and the
    answer are causal (type 1). Ids begin at 1, which rotary attention does not see.
    """

    name: ClassVar[str] = "paligemma"
    model_class: ClassVar[str] = "PaliGemmaForConditionalGeneration"
    prefix_attention: ClassVar[bool] = True

    def image_sizes(
        self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]
    ) -> ImageSizes:
        """The same for every image: side x side patches, by the vision tower's configuration."""
        vision = model.config.vision_config
        side = vision.image_size // vision.patch_size
        return ImageSizes([ImageTokens(side, side)], same=True)

    def check(self, model: Any, inputs: Mapping[str, Any], runs: list[list[Run]]) -> None:
        """Refuse prompts that stock transformers would let attend to what came before only.

        That is, without `token_type_ids`; and where an image comes after tokens that a cache
        holds already, since those were made without having seen it.
        """
        refuse_missing_types(
            inputs, runs, "the model would not let the tokens of the prompt attend to each other"
        )
        cache = inputs.get("past_key_values")
        past = int(cache.get_seq_length()) if cache is not None else 0
        if past and any(runs):
            raise ModelError(
                f"An image was given after {past} tokens in a key-value cache. In this model every "
                "token of a prompt attends to all of it, so give the whole prompt in one call."
            )
