"""The seam of attention: chosen query rows, computed once more as the interventions want them.

All rows run through the model's own attention function; then the few rows that are to change are
computed again, in float32, and put in place of the stock ones. So the cost is that of a few rows,
and all other rows are those of the stock model, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Kind
from wheresight.lvlm.seams.attention_function import ARGUMENT, SwitchedAttention
from wheresight.lvlm.seams.attention_rows import ChosenRows, Work
from wheresight.lvlm.seams.calibration import Calibration
from wheresight.lvlm.seams.positions import PositionSeam
from wheresight.lvlm.seams.seam import Handle, Seam
from wheresight.lvlm.wrapper import LVLM


class AttentionSeam(Seam):
    """Changes chosen rows of attention, layer by layer."""

    name: ClassVar[str] = "attention"

    def __init__(
        self,
        lvlm: LVLM,
        interventions: Sequence[Intervention],
        current: Callable[[], Call | None],
    ) -> None:
        super().__init__(lvlm, interventions, current)
        self.module: Any = lvlm.family.language_model(lvlm.core)
        needed = any(i.needs_blank for i in self.interventions)
        self.calibration = Calibration() if needed else None
        # The tracker, who makes both, sets it if anything acts on positions.
        self.positions: PositionSeam | None = None

    def attach(self) -> list[Handle]:
        """Let the language model use an attention function that looks for our argument."""
        for i in self.interventions:
            if not hasattr(i, "rows"):
                raise ModelError(
                    f"The intervention {i} acts on attention but does not say on which rows "
                    "(an attribute rows, 'last' or 'text')."
                )
        switch = SwitchedAttention(self.module)
        hook = self.module.register_forward_pre_hook(self._before_layers, with_kwargs=True)
        return [hook, switch]

    # ---- hooks ------------------------------------------------------------------------------

    def _before_layers(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = self.current()
        if self.copied or call is None:
            return None
        acting = [i for i in self.interventions if self._acts(i, call)]
        rows = self._rows(call, acting)
        framed = call.new_images and self.positions is not None and self.positions.framed
        if rows is None and not framed and call.kept is None:
            call.fired.add(self.name)
            return None
        changing = bool(self.interventions) or framed
        training = self.module.training and getattr(self.module, "gradient_checkpointing", False)
        if changing and training:
            raise ModelError(
                "Attention is changed under gradient checkpointing, where a backward pass outside "
                "of the block would silently give wrong gradients. Turn checkpointing off."
            )
        work = Work(call, acting, rows, self.positions if framed else None, self.calibration)
        return args, {**kwargs, ARGUMENT: work}

    def _rows(self, call: Call, acting: Sequence[Intervention]) -> ChosenRows | None:
        """Which rows of this call change; None if no row does."""
        if not (acting or call.measuring) or call.seen.most_images == 0:
            return None
        device = call.seen.kind.device
        text = call.seen.kind[:, call.past :] == Kind.TEXT
        text = text & (call.seen.image >= 0).any(1, keepdim=True)
        if call.real is not None:
            text = text & call.real[:, call.past :].to(device)
        column = torch.arange(call.tokens, device=device)
        # The last token that is not padding; rows may be padded on the right.
        last = torch.where(text, column, -1).amax(1)
        if call.measuring or any(i.rows == "text" for i in acting):  # type: ignore[attr-defined]
            used = text.any(0).nonzero().flatten()
            if len(used) == 0:
                return None
            own = used[None]
            return ChosenRows(own, text[:, used], own == last[:, None])
        if call.layout().ends_in_image:
            raise ModelError(
                f"The prompt ends in an image, but '{acting[0]}' acts on its last row of text. "
                "End it with text, or say that more of it will follow (prompt('inside'))."
            )
        if bool((last < 0).all()):
            return None
        own = last.clamp_min(0)[:, None]
        there = (last >= 0)[:, None]
        return ChosenRows(own, there, there)

    def _acts(self, intervention: Intervention, call: Call) -> bool:
        if call.measuring or (intervention.twice and call.decided is None):
            return False
        if intervention.decoding:
            return True
        return call.stage == "ends" or (
            call.stage == "inside" and intervention.rows == "text"  # type: ignore[attr-defined]
        )
