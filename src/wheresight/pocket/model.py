"""The model: a stock LLaVA (CLIP tower, two-layer projector, Llama decoder), small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import CHAT_TEMPLATE, IMAGE

if TYPE_CHECKING:
    import torch

# Mean and spread of the training scenes, whose backgrounds are mostly light.
MEAN, STD = (0.75, 0.75, 0.75), (0.25, 0.25, 0.25)


def image_tokens(recipe: Recipe) -> int:
    """How many tokens a picture takes in the decoder."""
    return (recipe.image_size // recipe.patch_size) ** 2


def build_model(recipe: Recipe, tokenizer: Any) -> Any:
    """A freshly initialised ``LlavaForConditionalGeneration`` in float32."""
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    torch.manual_seed(recipe.seed)
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
        image_seq_length=image_tokens(recipe),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        dtype="float32",
    )
    model = LlavaForConditionalGeneration(config).float()
    # Image tokens must be as long as words for matching to start at all; at the stock 0.02 the
    # words are five times too short, and it never does.
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0.0, recipe.embedding_std)
        # As strong as the patches; at the stock 0.02 places took thousands of steps to be learned.
        tower = model.model.vision_tower
        for name, parameter in tower.named_parameters():
            if "position_embedding" in name:
                parameter.normal_(0.0, recipe.place_std)
    model.tie_weights()
    return model


def build_processor(recipe: Recipe, tokenizer: Any) -> Any:
    """A ``LlavaProcessor`` that needs no torchvision: squares of ``image_size`` px."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = {"height": recipe.image_size, "width": recipe.image_size}
    images = CLIPImageProcessorPil(
        size=side, crop_size=side, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=recipe.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def pixel_tensor(pictures: Any) -> torch.Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, as the processor would for that size."""
    import numpy as np
    import torch

    values = torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255
    return ((values - MEAN[0]) / STD[0]).permute(0, 3, 1, 2).contiguous()


def image_features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) -> (B, N, D): what the decoder receives for each image token."""
    import torch

    output = model.model.get_image_features(pixel_values=pixels)
    features = getattr(output, "pooler_output", output)
    if isinstance(features, (tuple, list)):
        features = torch.stack(list(features))
    return features.reshape(pixels.shape[0], -1, features.shape[-1])


def name_vectors(model: Any, tokenizer: Any, names: list[str]) -> torch.Tensor:
    """(K, D): for each name the mean of its pieces' embeddings, as it stands after a space."""
    import torch

    table = model.get_input_embeddings().weight
    ids = tokenizer([f" {name}" for name in names], add_special_tokens=False)["input_ids"]
    return torch.stack([table[torch.tensor(i)].mean(0) for i in ids])
