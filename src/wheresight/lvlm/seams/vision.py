"""The seam of the vision tower: the hidden states that the model picks its features from.

Legend: D width of the tower.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.call import Call
from wheresight.lvlm.seams.seam import Handle, Seam


class VisionSeam(Seam):
    """Rewrites the hidden states of the vision tower, which may run without the language model."""

    name: ClassVar[str] = "vision"

    def attach(self) -> list[Handle]:
        """Hook the vision tower."""
        family, core = self.lvlm.family, self.lvlm.core
        tower, post_norm = family.vision_tower(core), family.post_norm(core)
        if tower is None or post_norm is None:
            raise ModelError(
                f"The hidden states of the vision tower cannot be reached in the family "
                f"{family.name!r}, as '{self.interventions[0]}' asks."
            )
        self.post_norm = post_norm
        return [
            # The model asks for the states that it takes; the others would not be kept.
            tower.register_forward_pre_hook(self._before_tower, with_kwargs=True),
            tower.register_forward_hook(self._after_tower),
        ]

    def _before_tower(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        return None if self.copied else (args, {**kwargs, "output_hidden_states": True})

    def _after_tower(self, module: torch.nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        if self.copied:
            return None
        call = self.current()
        if call is not None:
            call.fired.add(self.name)
        states = getattr(out, "hidden_states", None)
        if states is None:
            raise ModelError("The vision tower returned no hidden states to choose from.")
        for intervention in self.interventions:
            states = intervention.vision(states, self.post_norm)
        out.hidden_states = states
        return out

    def fires(self, call: Call) -> bool:
        """Only where pixels are given; features may have been computed before."""
        return call.inputs.get("pixel_values") is not None
