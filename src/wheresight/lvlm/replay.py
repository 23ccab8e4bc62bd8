"""Run the last row of a prompt once more, after its first logits were seen.

All rows before the last are what they are whatever is done to the last, so their cached keys and
values stay, the last slot is dropped, and one token is run again: exact, at the cost of a decode
step instead of a second prompt.

Legend: B batch, T columns of the prompt, V vocabulary.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers.cache_utils import DynamicCache

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention

if TYPE_CHECKING:
    from wheresight.lvlm.tracker import Tracker


class Replay:
    """Hooks on the whole model, around its prompt calls."""

    def __init__(self, tracker: Tracker, intervention: Intervention) -> None:
        self.tracker = tracker
        self.intervention = intervention
        self.core: Any = tracker.lvlm.core
        self.names = list(inspect.signature(self.core.forward).parameters)
        self.module: Any = tracker.lvlm.family.language_model(self.core)
        self.image_token = tracker.lvlm.family.image_token(self.core.config)
        self.own_cache = False
        self.as_tuple = False
        self.positions: torch.Tensor | None = None
        self.copied = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Replay:
        twin = object.__new__(Replay)
        twin.copied = True
        return twin

    def attach(self) -> list[RemovableHandle]:
        """Hook the whole model."""
        return [
            self.core.register_forward_pre_hook(self._before, with_kwargs=True),
            self.core.register_forward_hook(self._after, with_kwargs=True),
            self.module.register_forward_pre_hook(self._before_layers, with_kwargs=True),
        ]

    def _before_layers(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember the ids that the model made: over a cache M-RoPE makes them for all columns."""
        if self.copied or self.tracker.settled:
            return
        ids = kwargs.get("position_ids")
        self.positions = ids if ids is not None and ids.ndim == 3 else None

    def _before(
        self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self.copied or self.tracker.settled:
            return None
        given = {**dict(zip(self.names, args, strict=False)), **kwargs}
        if torch.is_grad_enabled() and model.training:
            raise ModelError(
                f"'{self.intervention}' looks at the answer before it acts, which has no gradient. "
                "Call the model in eval mode or under torch.no_grad."
            )
        self.own_cache = given.get("past_key_values") is None
        if self.own_cache:
            # The last row is run again on this cache; the caller need not want one.
            self.returned = given.get("use_cache", True) is not False
            module: Any = self.tracker.lvlm.family.language_model(model)
            cache = DynamicCache(config=module.config)
            given = {**given, "past_key_values": cache, "use_cache": True}
        cache = given["past_key_values"]
        if not all(hasattr(layer, "crop") for layer in cache.layers):
            raise ModelError(
                f"'{self.intervention}' runs the last row of the prompt again, and a "
                f"{type(cache).__name__} cannot give up a token. Use a DynamicCache."
            )
        cache.activate_past_recording()
        # Only a full output has the places that are written to here.
        self.as_tuple = given.get("return_dict") is False
        if self.as_tuple:
            given = {**given, "return_dict": True}
        return (), given

    def _after(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        if self.copied or self.tracker.settled:
            return None
        cache = kwargs["past_key_values"]
        if any(self.tracker.ended_prompt):
            decided = self._decided(kwargs, out)
            if decided is not None:
                new = self._again(kwargs, cache, decided)
                new = torch.where((decided == 1)[:, None, None], out.logits[:, -1:], new)
                out.logits = torch.cat([out.logits[:, :-1], new], dim=1)
        # What a sliding cache has kept for our sake is not needed any more.
        cache.crop(0)
        if self.own_cache and not self.returned:
            out.past_key_values = None
        return out.to_tuple() if self.as_tuple else out

    def _decided(self, kwargs: dict[str, Any], out: Any) -> torch.Tensor | None:
        """(B,), or None if every row may stay as it is."""
        mask = kwargs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.ndim == 2 and not bool(mask[:, -1].all()):
            raise ModelError(
                f"'{self.intervention}' needs every row to end with its prompt. Pad on the left."
            )
        ids, kept = kwargs.get("input_ids"), kwargs.get("logits_to_keep")
        if ids is not None and bool((ids[:, -1] == self.image_token).any()):
            raise ModelError(
                f"'{self.intervention}' runs the last token of the prompt again, which is of an "
                "image. If more of the prompt will follow, say so by prompt('inside')."
            )
        last = -1 if ids is None else ids.shape[1] - 1
        if isinstance(kept, torch.Tensor) and int(kept[-1]) not in (-1, last):
            raise ModelError(
                f"'{self.intervention}' needs the logits of the last token, which logits_to_keep "
                "leaves out. Put it last."
            )
        decided = self.intervention.decide(out.logits[:, -1])
        image = torch.tensor(self.tracker.ended_prompt, device=decided.device)
        decided = decided.masked_fill(~image, 1)
        return None if bool((decided == 1).all()) else decided

    def _again(self, kwargs: dict[str, Any], cache: Any, decided: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1, V) of the last token, run again as was decided."""
        ids = kwargs.get("input_ids")
        if ids is None:
            raise ModelError(f"'{self.intervention}' needs input_ids.")
        positions = kwargs.get("position_ids")
        positions = self.positions if positions is None else positions
        cache.crop(-1)
        self.tracker.replaying = decided
        try:
            out = self.core(
                input_ids=ids[:, -1:],
                attention_mask=kwargs.get("attention_mask"),
                position_ids=None if positions is None else positions[..., -1:],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        finally:
            self.tracker.replaying = None
        logits: torch.Tensor = out.logits
        return logits
