"""What the families have in common that pick hidden states of a CLIP or SigLIP tower."""

from __future__ import annotations

from typing import Any

from torch import nn

from wheresight.lvlm.families.family import Family

_TOWERS = ("clip_vision_model", "siglip_vision_model")


class SelectingTower(Family):
    """A family whose projector takes hidden states of the vision tower from before its last norm.

    Only CLIP and SigLIP towers tell of theirs; any other is left alone.
    """

    def vision_tower(self, model: Any) -> nn.Module | None:
        """The CLIP or SigLIP tower."""
        return model.model.vision_tower if _known(model.config) else None

    def post_norm(self, model: Any) -> nn.Module | None:
        """The tower's norm after its last block; CLIP applies it to its class token alone."""
        tower = self.vision_tower(model)
        return None if tower is None else tower.post_layernorm  # type: ignore[return-value]

    def vision_layers(self, config: Any) -> tuple[int, ...] | None:
        """`vision_feature_layer`, counted from the front; several are joined along D."""
        if not _known(config):
            return None
        chosen = config.vision_feature_layer
        states = config.vision_config.num_hidden_layers + 1
        chosen = [chosen] if isinstance(chosen, int) else chosen
        return tuple(n + states if n < 0 else n for n in chosen)


def _known(config: Any) -> bool:
    return config.vision_config.model_type in _TOWERS
