"""The model: a stock class, small, with the initial lengths that make it learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wheresight.pocket.architectures import architecture, architecture_of
from wheresight.pocket.architectures.architecture import MEAN, STD
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import chat_template

if TYPE_CHECKING:
    import torch


def build_model(recipe: Recipe, tokenizer: Any) -> Any:
    """A freshly initialised model of the recipe's architecture in float32."""
    import torch

    found = architecture(recipe.architecture)
    torch.manual_seed(recipe.seed)
    model = found.build(recipe, tokenizer)
    # Image tokens must be as long as words for matching to start at all; at the stock 0.02 the
    # words are five times too short, and it never does.
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0.0, recipe.embedding_std)
        # As strong as the patches; at the stock 0.02 places took thousands of steps to be learned.
        for name, parameter in found.tower(model).named_parameters():
            if "position_embedding" in name:
                parameter.normal_(0.0, recipe.place_std)
    model.tie_weights()
    return model


def build_processor(recipe: Recipe, tokenizer: Any) -> Any:
    """The stock processor: squares of ``image_size`` px."""
    found = architecture(recipe.architecture)
    return found.processor(recipe, tokenizer, chat_template(found.marker))


def pixel_tensor(pictures: Any) -> torch.Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, as the processor would for that size."""
    import numpy as np
    import torch

    values = torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255
    return ((values - MEAN[0]) / STD[0]).permute(0, 3, 1, 2).contiguous()


def image_features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) -> (B, N, D): what the decoder receives for each image token."""
    return architecture_of(model).features(model, pixels)


def name_vectors(model: Any, tokenizer: Any, names: list[str]) -> torch.Tensor:
    """(K, D): for each name the mean of its pieces' embeddings, as it stands after a space."""
    import torch

    words = model.get_input_embeddings()
    ids = tokenizer([f" {name}" for name in names], add_special_tokens=False)["input_ids"]
    return torch.stack([words(torch.tensor(i)).mean(0) for i in ids])


def word_length(model: Any) -> torch.Tensor:
    """Mean length of a word as the decoder receives it."""
    table = model.get_input_embeddings().weight
    return table.norm(dim=-1).mean() * architecture_of(model).word_scale
