"""LLaVA: CLIP tower, two-layer projector, Llama decoder; causal, one rotary position a token."""

from __future__ import annotations

from typing import Any, ClassVar

from wheresight.pocket.architectures.architecture import (
    MEAN,
    STD,
    Architecture,
    LastLayer,
    watch_input,
)
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import IMAGE


class Llava(Architecture):
    """LlavaForConditionalGeneration."""

    name: ClassVar[str] = "llava"
    about: ClassVar[str] = "LLaVA: CLIP tower, two-layer projector, Llama decoder with RoPE"

    def build(self, recipe: Recipe, tokenizer: Any) -> Any:
        """A CLIP tower without a class token in what it hands on, and a Llama decoder."""
        from transformers import (
            CLIPVisionConfig,
            LlamaConfig,
            LlavaConfig,
            LlavaForConditionalGeneration,
        )

        vision = CLIPVisionConfig(
            hidden_size=recipe.tower_width,
            intermediate_size=recipe.tower_mlp,
            num_hidden_layers=recipe.tower_layers,
            num_attention_heads=recipe.tower_heads,
            image_size=recipe.image_size,
            patch_size=recipe.patch_size,
            hidden_act="gelu",
            projection_dim=recipe.width,
        )
        text = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=recipe.mlp,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=1024,
            rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        config = LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            image_seq_length=recipe.image_tokens,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            tie_word_embeddings=True,
            dtype="float32",
        )
        return LlavaForConditionalGeneration(config).float()

    def processor(self, recipe: Recipe, tokenizer: Any, template: str) -> Any:
        """A ``LlavaProcessor`` that needs no torchvision."""
        from transformers import LlavaProcessor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        side = {"height": recipe.image_size, "width": recipe.image_size}
        images = CLIPImageProcessorPil(
            size=side,
            crop_size=side,
            do_center_crop=False,
            image_mean=list(MEAN),
            image_std=list(STD),
        )
        return LlavaProcessor(
            image_processor=images,
            tokenizer=tokenizer,
            patch_size=recipe.patch_size,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=template,
        )

    def last_layer(self, model: Any) -> LastLayer:
        """The projector's second layer."""
        last = model.model.multi_modal_projector.linear_2
        return LastLayer(last.weight.data, last.bias.data, watch_input(last))
