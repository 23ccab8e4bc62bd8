"""Gemma 3: SigLIP tower, a norm and one matrix, a decoder in which an image's tokens see each
other in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from wheresight.pocket.architectures.architecture import (
    MEAN,
    STD,
    Architecture,
    LastLayer,
    watch_output,
)
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import IMAGE

if TYPE_CHECKING:
    import torch

_BEGIN, _END = "<start_of_image>", "<end_of_image>"


class Gemma3(Architecture):
    """Gemma3ForConditionalGeneration."""

    name: ClassVar[str] = "gemma3"
    about: ClassVar[str] = (
        "Gemma 3: SigLIP tower, norm and matrix, a decoder in which an image's tokens see each "
        "other in both directions"
    )
    marks: ClassVar[dict[str, str]] = {"boi_token": _BEGIN, "eoi_token": _END}
    before: ClassVar[str] = f"\n\n{_BEGIN}"
    after: ClassVar[str] = f"{_END}\n\n"
    marker: ClassVar[str] = _BEGIN
    # Every layer writes vectors of length 16 here, so words must be as long to be heard at all.
    changes: ClassVar[dict[str, Any]] = {"embedding_std": 1 / 16}
    word_scale: ClassVar[float] = 16.0  # the square root of a width of 256
    both_ways: ClassVar[bool] = True

    def build(self, recipe: Recipe, tokenizer: Any) -> Any:
        """Every third layer attends to all, the others in a window that no prompt here fills."""
        import torch
        from transformers import Gemma3Config, Gemma3ForConditionalGeneration

        if recipe.width != self.word_scale**2:
            raise ValueError(f"A width of {recipe.width}; expected {self.word_scale**2:.0f}.")
        vision = {
            "hidden_size": recipe.tower_width,
            "intermediate_size": recipe.tower_mlp,
            "num_hidden_layers": recipe.tower_layers,
            "num_attention_heads": recipe.tower_heads,
            "image_size": recipe.image_size,
            "patch_size": recipe.patch_size,
            "vision_use_head": False,
        }
        layers = [
            "full_attention" if n % 3 == 2 else "sliding_attention" for n in range(recipe.layers)
        ]
        text = {
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.width,
            "intermediate_size": recipe.mlp,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "num_key_value_heads": recipe.heads,
            "head_dim": recipe.width // recipe.heads,
            "query_pre_attn_scalar": recipe.width // recipe.heads,
            "max_position_embeddings": 1024,
            "sliding_window": 1024,
            "layer_types": layers,
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        config = Gemma3Config(
            text_config=text,
            vision_config=vision,
            mm_tokens_per_image=recipe.image_tokens,
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            boi_token_index=tokenizer.convert_tokens_to_ids(_BEGIN),
            eoi_token_index=tokenizer.convert_tokens_to_ids(_END),
            tie_word_embeddings=True,
            dtype="float32",
        )
        model = Gemma3ForConditionalGeneration(config).float()
        with torch.no_grad():  # zero in the stock class, which then learns nothing
            torch.nn.init.xavier_uniform_(
                model.model.multi_modal_projector.mm_input_projection_weight
            )
        return model

    def processor(self, recipe: Recipe, tokenizer: Any, template: str) -> Any:
        """A ``Gemma3Processor`` without pan and scan."""
        from transformers import Gemma3Processor
        from transformers.models.gemma3.image_processing_pil_gemma3 import (
            Gemma3ImageProcessorPil,
        )

        images = Gemma3ImageProcessorPil(
            size={"height": recipe.image_size, "width": recipe.image_size},
            resample=3,  # bicubic, as for the others
            image_mean=list(MEAN),
            image_std=list(STD),
        )
        return Gemma3Processor(
            image_processor=images,
            tokenizer=tokenizer,
            chat_template=template,
            image_seq_length=recipe.image_tokens,
        )

    def last_layer(self, model: Any) -> LastLayer:
        """The projector's only matrix, behind its norm; it has no bias."""
        projector = model.model.multi_modal_projector
        matrix = projector.mm_input_projection_weight.data
        return LastLayer(matrix.T, None, watch_output(projector.mm_soft_emb_norm))

    def decode(
        self, model: Any, embeds: torch.Tensor, allowed: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """As for the others; packed rows are shorter than the window, so both kinds are alike."""
        output = model.model.language_model(
            inputs_embeds=embeds,
            attention_mask={"full_attention": allowed, "sliding_attention": allowed},
            position_ids=positions,
            use_cache=False,
        )
        states: torch.Tensor = output.last_hidden_state
        return states
