"""Compute chosen rows of one attention call once more, as the interventions want them.

Legend: B batch, A query heads, K key heads, T the call's own tokens, Q chosen rows, S key columns,
C columns of the history, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.interventions.inputs import AttentionRows
from wheresight.lvlm import columns
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Kind
from wheresight.lvlm.seams.calibration import Calibration
from wheresight.lvlm.seams.positions import PositionSeam


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """The query rows that change in one call.

    Attributes:
        own: (B or 1, Q) int64, their columns among the call's own tokens.
        wanted: (B or 1, Q) bool, those that a method on text rows acts on.
        last: (B or 1, Q) bool, the last row of the prompt.
    """

    own: torch.Tensor
    wanted: torch.Tensor
    last: torch.Tensor


class Work:
    """What there is to do in one call, for all layers."""

    def __init__(
        self,
        call: Call,
        interventions: Sequence[Intervention],
        rows: ChosenRows | None,
        positions: PositionSeam | None,
        calibration: Calibration | None,
    ) -> None:
        self.call = call
        self.interventions = interventions
        self.rows = rows
        self.positions = positions
        self.calibration = calibration
        layout = call.seen
        self.image = (layout.image >= 0) & (layout.kind != Kind.HIDDEN)

    def __call__(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: Any,
        scaling: float | None,
        more: dict[str, Any],
        out: torch.Tensor,
    ) -> torch.Tensor:
        """The output (B, T, A, D) of an attention function with the chosen rows replaced."""
        self.call.fired.add("attention")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        if self.positions is not None:
            angles = self.positions.turn_apart(self.call, int(module.layer_idx))
            if angles is not None:
                out = self._image_rows(query, key, value, mask, scaling, more, out, angles)
        if self.rows is not None:
            out = self._chosen_rows(
                self.rows, int(module.layer_idx), query, key, value, mask, scaling, more, out
            )
        return out

    def _image_rows(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: Any,
        scaling: float,
        more: dict[str, Any],
        out: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Image queries see queries and keys turned to where image queries see them."""
        call = self.call
        _refuse_unknown_terms(more, softcap=True)
        total, keys = call.past + call.tokens, key.shape[2]
        image = self.image[:, call.past :].to(query.device)
        used = image.any(0).nonzero().flatten()
        cos, sin = (a[:, None].float() for a in angles)
        turned_query = _turn(
            query[:, :, used], cos[:, :, call.past + used], sin[:, :, call.past + used]
        )
        at = [columns.keys_of(a.transpose(2, 3), keys).transpose(2, 3) for a in (cos, sin)]
        turned_key = _turn(key, at[0], at[1])
        seen = columns.visible(
            mask, call.past + used[None], total, keys, more.get("sliding_window")
        )
        made = F.scaled_dot_product_attention(
            turned_query,
            turned_key,
            value,
            attn_mask=seen,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        ).transpose(1, 2)
        new = torch.where(image[:, used, None, None], made, out[:, used])
        return out.index_copy(1, used, new.to(out.dtype))

    def _chosen_rows(
        self,
        rows: ChosenRows,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: Any,
        scaling: float,
        more: dict[str, Any],
        out: torch.Tensor,
    ) -> torch.Tensor:
        call, calibration = self.call, self.calibration
        acting = [i for i in self.interventions if i.layer_key(layer) is not None]
        if not acting and not call.measuring:
            return out
        _refuse_unknown_terms(more)
        batch, heads, _, width = query.shape
        keys = key.shape[2]
        own = rows.own.to(query.device).expand(batch, -1)
        chosen = query.gather(2, own[:, None, :, None].expand(-1, heads, -1, width))
        total = call.past + call.tokens
        seen = columns.visible(mask, own + call.past, total, keys, more.get("sliding_window"))
        logits = _logits(chosen, key, scaling)
        cap = more.get("softcap")
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        image = columns.keys_of(self.image.to(query.device), keys)[:, None, None]
        known = AttentionRows(
            layer=layer,
            visible=seen.expand(batch, -1, -1, -1),
            image=image,
            decided=call.decided,
            calibration=calibration.placed(layer, call, logits)
            if calibration is not None and not call.measuring
            else None,
        )
        for intervention in acting:
            new = intervention.logits(logits, known)
            logits = _kept_to(intervention, rows, new, logits)
        weights = logits.masked_fill(~seen, torch.finfo(logits.dtype).min).softmax(-1)
        if call.measuring:
            assert calibration is not None
            calibration.keep(layer, call, weights, rows.wanted.to(seen.device), seen)
            return out
        for intervention in acting:
            new = intervention.weights(weights, known)
            weights = _kept_to(intervention, rows, new, weights)
        mixed = _mixed(weights.to(value.dtype), value)
        touched = rows.wanted.to(query.device)[..., None, None]
        index = own[:, :, None, None].expand(-1, -1, heads, value.shape[-1])
        mixed = torch.where(touched, mixed, out.gather(1, index))
        return out.scatter(1, index, mixed)


def _kept_to(
    intervention: Any, rows: ChosenRows, new: torch.Tensor, old: torch.Tensor
) -> torch.Tensor:
    """New values (B, A, Q, S) in the rows and heads that an intervention acts on, else old ones."""
    if new is old:
        return old
    keep = None
    if intervention.rows == "last" and not bool(rows.last.all()):
        keep = rows.last.to(old.device)[:, None, :, None]
    heads = getattr(intervention, "heads", None)
    if heads is not None and str(heads) != "all":
        within = torch.tensor([h in heads for h in range(old.shape[1])], device=old.device)
        within = within[None, :, None, None]
        keep = within if keep is None else keep & within
    return new if keep is None else torch.where(keep, new, old)


def _refuse_unknown_terms(more: dict[str, Any], softcap: bool = False) -> None:
    for argument in ("s_aux", "position_bias", *(("softcap",) if softcap else ())):
        if more.get(argument) is not None:
            raise ModelError(
                f"The attention of this model has a term of its own ({argument}), which a change "
                "of single rows does not know of."
            )


def _turn(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Queries or keys (B, A, S, D) turned by angles (B, 1, S, D'), D' of D channels rotary."""
    rotary = cos.shape[-1]
    turning, rest = states[..., :rotary].float(), states[..., rotary:]
    a, b = turning.chunk(2, dim=-1)
    turned = turning * cos + torch.cat([-b, a], -1) * sin
    return torch.cat([turned.to(states.dtype), rest], -1)


def _logits(query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
    """(B, A, Q, S), float32 or finer, from (B, A, Q, D) and (B, K, S, D); A is a multiple of K."""
    batch, heads, rows, width = query.shape
    groups = key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups * rows, width)
    exact = torch.promote_types(query.dtype, torch.float32)
    logits = (grouped @ key.transpose(2, 3)).to(exact) * scaling
    return logits.view(batch, heads, rows, -1)


def _mixed(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(B, Q, A, D) from (B, A, Q, S) and (B, K, S, D)."""
    batch, heads, rows, keys = weights.shape
    groups = value.shape[1]
    grouped = weights.reshape(batch, groups, heads // groups * rows, keys)
    return (grouped @ value).view(batch, heads, rows, -1).transpose(1, 2)
