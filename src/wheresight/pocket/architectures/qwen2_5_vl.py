"""Qwen2.5-VL: a tower that knows places by rotary angles only, M-RoPE in the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from wheresight.pocket.architectures.architecture import (
    MEAN,
    STD,
    Architecture,
    LastLayer,
    watch_input,
)
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import IMAGE

if TYPE_CHECKING:
    import torch

_BEGIN, _END, _VIDEO = "<|vision_start|>", "<|vision_end|>", "<video>"
_FRAMES = 2  # a picture is shown to the tower as two equal frames


class Qwen25VL(Architecture):
    """Qwen2_5_VLForConditionalGeneration; one patch a token (the published models merge four)."""

    name: ClassVar[str] = "qwen2_5_vl"
    about: ClassVar[str] = (
        "Qwen2.5-VL: a tower that knows places by rotary angles, two-layer merger, a decoder with "
        "M-RoPE"
    )
    marks: ClassVar[dict[str, str]] = {
        "video_token": _VIDEO,
        "vision_bos_token": _BEGIN,
        "vision_eos_token": _END,
    }
    # A tower that knows places by rotary angles only is slower to learn names, and its tokens tell
    # the decoder of places late: after one and two rounds, what is at a cell was 79 and 83 % right.
    changes: ClassVar[dict[str, Any]] = {"shape_rounds": 3, "last_round_at_cell": 0.35}
    before: ClassVar[str] = _BEGIN
    after: ClassVar[str] = f"{_END}\n"
    marker: ClassVar[str] = f"{_BEGIN}{IMAGE}{_END}\n"

    def build(self, recipe: Recipe, tokenizer: Any) -> Any:
        """All layers of the tower attend to the whole picture."""
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        half = recipe.width // recipe.heads // 2
        section = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
        text = {
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.width,
            "intermediate_size": recipe.mlp,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "num_key_value_heads": recipe.heads,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": recipe.rope_theta,
                "mrope_section": section,
            },
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        vision = {
            "depth": recipe.tower_layers,
            "hidden_size": recipe.tower_width,
            "intermediate_size": recipe.tower_mlp,
            "num_heads": recipe.tower_heads,
            "patch_size": recipe.patch_size,
            "spatial_patch_size": recipe.patch_size,
            "spatial_merge_size": 1,
            "temporal_patch_size": _FRAMES,
            "window_size": recipe.image_size,
            "fullatt_block_indexes": list(range(recipe.tower_layers)),
            "out_hidden_size": recipe.width,
        }
        config = Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            video_token_id=tokenizer.convert_tokens_to_ids(_VIDEO),
            vision_start_token_id=tokenizer.convert_tokens_to_ids(_BEGIN),
            vision_end_token_id=tokenizer.convert_tokens_to_ids(_END),
            tie_word_embeddings=True,
            dtype="float32",
        )
        return Qwen2_5_VLForConditionalGeneration(config).float()

    def processor(self, recipe: Recipe, tokenizer: Any, template: str) -> Any:
        """A ``Qwen2_5_VLProcessor`` for pictures; others than squares keep their shape."""
        from transformers import Qwen2_5_VLProcessor
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        from wheresight.lvlm.stills import stills_only

        area = recipe.image_size**2
        images = Qwen2VLImageProcessorPil(
            size={"shortest_edge": area, "longest_edge": area},
            patch_size=recipe.patch_size,
            merge_size=1,
            temporal_patch_size=_FRAMES,
            image_mean=list(MEAN),
            image_std=list(STD),
        )
        return stills_only(Qwen2_5_VLProcessor)(
            image_processor=images,
            tokenizer=tokenizer,
            video_processor=None,
            chat_template=template,
        )

    def last_layer(self, model: Any) -> LastLayer:
        """The merger's second layer."""
        last = model.model.visual.merger.mlp[2]
        return LastLayer(last.weight.data, last.bias.data, watch_input(last))

    def tower(self, model: Any) -> Any:
        """The tower, with its merger."""
        return model.model.visual

    def vision(self, model: Any) -> dict[str, Any]:
        """The merger is part of the tower here."""
        return {"tower": model.model.visual, "projector": model.model.visual.merger}

    def features(self, model: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Cut the pictures into patches first, each with its two frames."""
        import torch

        patch = model.config.vision_config.patch_size
        count, channels, height, width = pixels.shape
        rows, columns = height // patch, width // patch
        cut = pixels.reshape(count, channels, rows, patch, columns, patch)
        cut = cut.permute(0, 2, 4, 1, 3, 5).unsqueeze(4)  # (B, rows, columns, C, 1, P, P)
        flat = cut.expand(-1, -1, -1, -1, _FRAMES, -1, -1).reshape(count * rows * columns, -1)
        grids = torch.tensor([[1, rows, columns]] * count)
        output = model.model.get_image_features(pixel_values=flat, image_grid_thw=grids)
        return self.stacked(output, count)

    def positions(self, start: int, side: int) -> tuple[list[Any], int]:
        """Triples (time, row, column); what follows goes on from the longer side."""
        triples = [(start, start + r, start + c) for r in range(side) for c in range(side)]
        return triples, start + side

    def decode(
        self, model: Any, embeds: torch.Tensor, allowed: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """(B, L, 3) positions as the decoder wants them: (3, B, L)."""
        return super().decode(model, embeds, allowed, positions.permute(2, 0, 1))
