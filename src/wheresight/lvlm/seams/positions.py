"""The seam of rotary position ids: a pre-hook on the rotary module.

Not on the language model's `position_ids`, although that is where they come from: stock
transformers reads those ids for other ends. Where an id does not follow its neighbour, mask
creation and flash attention see the start of another packed sequence and cut the image off from
the text, silently. Behind the rotary module ids only become angles.

Legend: R rotary rows (1 or 3), B batch, T tokens of this call.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.utils.hooks import RemovableHandle

from wheresight.errors import ModelError
from wheresight.lvlm.call import Call
from wheresight.lvlm.history import History
from wheresight.lvlm.seams.seam import Seam


class PositionSeam(Seam):
    """Replaces the ids that the rotary modules are given."""

    name: ClassVar[str] = "positions"

    def attach(self) -> list[RemovableHandle]:
        """Hook every rotary module of the language model."""
        return [
            module.register_forward_pre_hook(self._before_rotary, with_kwargs=True)
            for module in self.lvlm.family.rotary(self.lvlm.core)
        ]

    def _before_rotary(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not self.interventions:  # a copy of the model
            return None
        call = self.current()
        if call is None:
            raise ModelError(
                "The language model was called on its own inside an intervention, so its images "
                "cannot be known. Call the whole model."
            )
        by_name = "position_ids" in kwargs
        old = kwargs["position_ids"] if by_name else args[1]
        if self.name not in call.fired:
            # Some families come here once per layer type, with the same ids each time.
            call.fired.add(self.name)
            call.made[self.name] = self._assign(call, old)
        new, _ = call.made[self.name]
        if new is None:
            return None
        new = new if old.ndim == 3 else new[0]
        if by_name:
            return args, {**kwargs, "position_ids": new}
        return (args[0], new, *args[2:]), kwargs

    def _assign(self, call: Call, old: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The new ids of this call's tokens (None: as they are), and the old ones (R, B, T)."""
        rows = old if old.ndim == 3 else old[None]
        if rows.shape[-1] != call.tokens:
            raise ModelError(
                f"The model made position ids for {rows.shape[-1]} tokens in a call of "
                f"{call.tokens}. Some models do so where an attention mask covers a cache: pass "
                "position_ids of the new tokens, or let generate count them."
            )
        rows = rows.expand(rows.shape[0], call.batch, call.tokens)
        history = call.history
        if history is not None and history.offset is not None and not call.new_images:
            # A decode step: text goes on at a constant distance from where it would have been.
            return rows + history.offset, rows
        # A model spread over devices counts positions where its language model begins.
        layout = call.layout().to(rows.device)
        if layout.most_images == 0:
            return None, rows
        ids = rows if history is None else torch.cat([history.full_ids(), rows], -1)
        new = ids
        for intervention in self.interventions:
            new = intervention.positions(new, layout)
            if new.shape != ids.shape:
                raise ModelError(
                    f"The intervention {intervention} returned position ids of shape "
                    f"{tuple(new.shape)}; expected {tuple(ids.shape)}."
                )
        return new[..., call.past :], rows

    def commit(self, call: Call, history: History) -> None:
        """Keep the original ids; the constant for text to come if the last column is text."""
        new, old = call.made[self.name]
        history.ids.append(old)
        if history.offset is not None and not call.new_images:
            return
        rigid = all(i.text_moves_rigidly for i in self.interventions)
        if new is not None and (not rigid or call.layout().ends_in_image):
            history.offset = None
        elif new is not None:
            history.offset = new[..., -1:] - old[..., -1:]
        else:
            history.offset = torch.zeros_like(old[..., -1:])
