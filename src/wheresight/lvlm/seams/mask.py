"""The seam of the attention mask: what each decoder layer is told of who sees whom.

Masks are made in the language model or before it, once for all layers or once for each layer
type. A hook on each layer serves all families, and lets layers differ. Hidden tokens are masked
here too: whoever takes an image token away, no other token may attend to it. Where nothing else
is masked the seam of attention leaves them out instead, which costs less.

Legend: B batch, Q the call's own tokens, S key columns, C columns of the history.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.lvlm import columns
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Kind
from wheresight.lvlm.seams.seam import Handle, Seam, layer_groups
from wheresight.lvlm.wrapper import LVLM


class MaskSeam(Seam):
    """Rewrites the mask that each decoder layer is given."""

    name: ClassVar[str] = "mask"

    def __init__(
        self,
        lvlm: LVLM,
        interventions: Sequence[Intervention],
        current: Callable[[], Call | None],
    ) -> None:
        super().__init__(lvlm, interventions, current)
        self.layers = lvlm.family.layers(lvlm.core)
        self.group_of, _ = layer_groups(self.interventions, len(self.layers))
        # Which group of the positions' seam each layer is in; the tracker, who makes both, says so.
        self.groups_of_positions: Sequence[int] = ()
        module: Any = lvlm.family.language_model(lvlm.core)
        self.kind: str = module.config._attn_implementation
        # True if the seam of attention leaves hidden tokens out where this one gives it no mask;
        # the tracker, who makes both, says so.
        self.can_leave_out = False

    def attach(self) -> list[Handle]:
        """Hook every decoder layer."""
        return [
            layer.register_forward_pre_hook(
                functools.partial(self._before_layer, number), with_kwargs=True
            )
            for number, layer in enumerate(self.layers)
        ]

    def _before_layer(
        self, number: int, layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = self.current()
        if self.copied or call is None:
            return None
        call.fired.add(self.name)
        hidden = call.relayout is not None and call.seen is not call.layout()
        acting = [i for i in self.interventions if i.layer_key(number) is not None]
        if not (hidden or (acting and call.new_images)):
            return None
        if "attention_mask" not in kwargs:
            raise ModelError(f"Layer {number} was given no attention_mask by name.")
        given = kwargs["attention_mask"]
        keys = call.tokens
        if call.cache is not None:
            keys, _ = call.cache.get_mask_sizes(call.tokens, number)
        if not acting and given is None and keys == call.tokens and self._left_out(call):
            return None
        made = call.made.setdefault(self.name, {})
        group = (self.group_of[number], self.groups_of_positions[number]) if acting else None
        key = (group, id(given), keys, args[0].device)
        if key not in made:
            allowed = self._allowed(call, given, keys, args[0].device)
            if call.new_images:
                allowed = self._changed(call, number, acting, allowed)
            if hidden:
                allowed = _without_hidden(call, allowed)
            # The mask that was given is kept too: ids are those of objects that are alive.
            made[key] = (given, self._as_taken(allowed, keys, args[0].dtype))
        return args, {**kwargs, "attention_mask": made[key][1]}

    def _left_out(self, call: Call) -> bool:
        """True if attention leaves out what is hidden, so that it need not be masked."""
        return self.can_leave_out and call.kept is not None

    def _allowed(self, call: Call, given: Any, keys: int, device: torch.device) -> torch.Tensor:
        """What the model's own mask allows, (B, Q, C); layers that were given one mask share it."""
        made = call.made.setdefault("mask as given", {})
        key = (id(given), keys, device)
        if key not in made:
            total = call.past + call.tokens
            rows = torch.arange(call.past, total, device=device)[None]
            stock = columns.visible(given, rows, total, keys).expand(call.batch, -1, -1, -1)
            made[key] = columns.history_of(stock[:, 0], total)
        allowed: torch.Tensor = made[key]
        return allowed

    def _changed(
        self, call: Call, number: int, acting: Sequence[Intervention], allowed: torch.Tensor
    ) -> torch.Tensor:
        layout = call.seen.to(allowed.device)
        for intervention in acting:
            ids = call.made["positions"].full[self.groups_of_positions[number]]
            allowed = intervention.mask(allowed, layout, ids.to(allowed.device), number)
        return allowed

    def _as_taken(self, allowed: torch.Tensor, keys: int, dtype: torch.dtype) -> torch.Tensor:
        """(B, 1, Q, S), of the kind that the attention function takes."""
        mask = columns.keys_of(allowed, keys)[:, None]
        return columns.as_taken(mask, self.kind, dtype).contiguous()


def _without_hidden(call: Call, allowed: torch.Tensor) -> torch.Tensor:
    """Nobody sees a hidden token; it keeps what it saw, since its row must not be empty."""
    hidden = (call.seen.kind == Kind.HIDDEN).to(allowed.device)
    return torch.where(hidden[:, call.past :, None], allowed, allowed & ~hidden[:, None])
