"""A model, its processor and its family, as one thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.families import family_for_model
from wheresight.lvlm.families.family import Family
from wheresight.lvlm.layout import Layout, layout_of
from wheresight.lvlm.spans import place, runs_of


@dataclass(eq=False)
class LVLM:
    """A large vision-language model that wheresight can look into.

    Attributes:
        model: as it was given, PEFT adapters and all; call and train this one.
        core: the transformers model inside; the same object if there are no adapters.
        processor: the model's processor, or None.
        family: where the seams of this kind of model are.
        name: what the user called it.
        revision: what identifies its weights.
        trained_under: canonical spec of the intervention that it was trained under, or that the
            adapter on it was.
    """

    model: Any
    core: Any
    processor: Any
    family: Family
    name: str
    revision: str = ""
    trained_under: str = "none"

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return torch.device(self.core.device)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.core.dtype

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor from the CPU on the model's device; on CUDA without waiting for the copy."""
        if self.device.type != "cuda" or tensor.device.type != "cpu":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def layout(self, inputs: Mapping[str, Any]) -> Layout:
        """Tell what every token of a batch is.

        Args:
            inputs: what the processor returned: `input_ids` (B, T); `attention_mask` (B, T) if
                rows are padded; the sizes of the images where the family has any
                (`image_sizes`, `image_grid_thw`).

        Raises:
            ModelError: no `input_ids`, or images that do not fit the placeholder tokens.
        """
        ids = inputs.get("input_ids")
        if ids is None or ids.ndim != 2:
            raise ModelError(
                "A layout needs input_ids of shape (batch, tokens) with the image placeholder "
                "tokens in them; embeddings alone do not tell where the images are."
            )
        placeholder = ids == self.family.image_token(self.core.config)
        real = inputs.get("attention_mask")
        if real is not None and real.shape != ids.shape:
            raise ModelError(
                f"The attention mask has shape {tuple(real.shape)} but input_ids have "
                f"{tuple(ids.shape)}; expected the same."
            )
        runs = runs_of(placeholder)
        sizes = self.family.image_sizes(self.core, inputs, runs)
        if not sizes.images and any(runs):
            raise ModelError(
                "The prompt has image placeholder tokens, but the inputs do not tell the sizes of "
                "the images. Pass everything that the processor returned."
            )
        return layout_of(place(runs, sizes, ids.shape[1]), real, ids)


def wrap(model: Any, processor: Any = None) -> LVLM:
    """Make an LVLM of a transformers model, a PEFT model around one, or an LVLM.

    Args:
        model: a whole model (`...ForConditionalGeneration`) of a known family.
        processor: its processor; needed for prompts, not for interventions.

    Raises:
        ModelError: not a model, an unknown family, no image token, a compiled model, or PEFT
            prompt learning.
    """
    if isinstance(model, LVLM):
        if processor is not None and processor is not model.processor:
            return dataclasses.replace(model, processor=processor)
        return model
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"A {type(model).__name__} was given; expected a transformers model, a PEFT model or "
            "an LVLM. Load one by name with wheresight.load."
        )
    core = unwrap(model)
    family = family_for_model(core)
    name = getattr(core.config, "_name_or_path", "") or type(core).__name__
    return LVLM(model, core, processor, family, name)


def unwrap(model: Any) -> Any:
    """The transformers model inside PEFT wrappers.

    Raises:
        ModelError: for PEFT methods that put virtual tokens before the prompt, and for compiled
            models, into which no hook reaches.
    """
    if hasattr(model, "_orig_mod"):
        raise ModelError(
            "A compiled model was given, which would silently ignore interventions. Give the "
            "model itself, enter the intervention, and compile inside it."
        )
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        for adapter, config in model.peft_config.items():
            if getattr(config, "is_prompt_learning", False):
                raise ModelError(
                    f"The PEFT adapter {adapter!r} ({config.peft_type}) puts virtual tokens before "
                    "the prompt, so columns no longer tell where the images are. Use LoRA or "
                    "another method that leaves the prompt alone."
                )
        return unwrap(model.get_base_model())
    return model
