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


@dataclass(frozen=True, eq=False)
class Given:
    """What an attention function is called with.

    Attributes:
        module: the attention module.
        query: (B, A, T, D), rotated.
        key, value: (B, K, S, D), of the whole history; keys rotated.
        mask: of whatever kind the function takes.
        scaling: of the logits; None for 1 / sqrt(D).
        more: its other arguments.
    """

    module: Any
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: Any
    scaling: float | None
    more: dict[str, Any]

    @property
    def scale(self) -> float:
        """What logits are multiplied by."""
        return self.query.shape[-1] ** -0.5 if self.scaling is None else self.scaling


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
        self.hidden = layout.kind == Kind.HIDDEN
        self.image = (layout.image >= 0) & ~self.hidden

    def attended(self, given: Given) -> torch.Tensor | None:
        """The output (B, T, A, D) where all rows are to be computed in another way; else None."""
        out = self._in_frames(given)
        return self._without_hidden(given) if out is None else out

    def _without_hidden(self, given: Given) -> torch.Tensor | None:
        """The output (B, T, A, D) where hidden tokens are left out and nothing is masked.

        A shorter causal call then says the same as a mask over a longer one, and costs less. The
        rows of hidden tokens, which nobody reads, are zero.
        """
        kept = self.call.kept
        if given.mask is not None or kept is None:
            return None
        self.call.fired.add("attention")
        kept = kept.to(given.query.device)
        query, key, value = (x[:, :, kept] for x in (given.query, given.key, given.value))
        out = given.query.new_zeros(given.query.transpose(1, 2).shape)
        out[:, kept] = _plain(given, None, query, key, value)
        return out

    def _in_frames(self, given: Given) -> torch.Tensor | None:
        """The output (B, T, A, D) where image queries see other ids than text queries; else None.

        Text rows run as they were given, image rows with queries and keys turned to where image
        queries see them.
        """
        layer = int(given.module.layer_idx)
        angles = self.positions.turn_apart(self.call, layer) if self.positions else None
        if angles is None:
            return None
        self.call.fired.add("attention")
        refuse_unknown_terms(given.more, softcap=True)
        image = self.image[:, self.call.past :].to(given.query.device)
        columns_of_image = image.any(0).nonzero().flatten()
        first, stop = int(columns_of_image[0]), int(columns_of_image[-1]) + 1
        of_text = (~image).any(0).nonzero().flatten()
        # Where nothing is masked but what comes later, the kernel's own causal mask is cheaper than
        # one that is given to it. Text before all images sees the same in both frames.
        plain = given.mask is None and given.key.shape[2] == given.query.shape[2]
        plain = plain and given.more.get("sliding_window") is None
        if plain:
            of_image, keys = torch.arange(stop, device=image.device), stop
            of_text = of_text[of_text >= first]
        else:
            of_image, keys = columns_of_image, given.key.shape[2]
        at_image, at_text = _block(of_image), _block(of_text)
        cos, sin = (a[:, None].float() for a in angles)
        own_cos, own_sin = (a[:, :, self.call.past :][:, :, at_image] for a in (cos, sin))
        query = rotated(given.query[:, :, at_image], own_cos, own_sin)
        at_keys = [
            columns.keys_of(a.transpose(2, 3), given.key.shape[2]).transpose(2, 3)[:, :, :keys]
            for a in (cos, sin)
        ]
        key = rotated(given.key[:, :, :keys], *at_keys)
        seen = None if plain else self._visible(given, of_image, "image")
        batch, heads, tokens, _ = given.query.shape
        out = given.value.new_empty(batch, tokens, heads, given.value.shape[-1])
        out[:, at_image] = _plain(given, seen, query, key, given.value[:, :, :keys])
        if len(of_text):
            seen = self._visible(given, of_text, "text")
            text = _plain(given, seen, given.query[:, :, at_text], given.key, given.value)
            if bool(image[:, of_text].any()):
                text = torch.where(image[:, of_text, None, None], out[:, at_text], text)
            out[:, at_text] = text
        return out

    def _visible(self, given: Given, own: torch.Tensor, name: str) -> torch.Tensor:
        """Which keys some of the call's own rows see; layers that were given one mask share it."""
        call, window = self.call, given.more.get("sliding_window")
        made = call.made.setdefault("visible in frames", {})
        key = (name, id(given.mask), given.key.shape[2], window, given.query.device)
        if key not in made:
            # The mask is kept too: ids are those of objects that are alive.
            made[key] = (
                given.mask,
                columns.visible(
                    given.mask,
                    call.past + own[None],
                    call.past + call.tokens,
                    given.key.shape[2],
                    window,
                ),
            )
        seen: torch.Tensor = made[key][1]
        return seen

    def changed(self, given: Given, out: torch.Tensor) -> torch.Tensor:
        """The output (B, T, A, D) of an attention function with the chosen rows replaced."""
        self.call.fired.add("attention")
        if self.rows is None:
            return out
        return self._chosen_rows(self.rows, given, out)

    def _chosen_rows(self, rows: ChosenRows, given: Given, out: torch.Tensor) -> torch.Tensor:
        query, key, value = given.query, given.key, given.value
        layer = int(given.module.layer_idx)
        call, calibration = self.call, self.calibration
        acting = [i for i in self.interventions if i.layer_key(layer) is not None]
        if not acting and not call.measuring:
            return out
        refuse_unknown_terms(given.more)
        batch, heads, _, width = query.shape
        keys = key.shape[2]
        own = rows.own.to(query.device).expand(batch, -1)
        chosen = query.gather(2, own[:, None, :, None].expand(-1, heads, -1, width))
        total = call.past + call.tokens
        seen = columns.visible(
            given.mask, own + call.past, total, keys, given.more.get("sliding_window")
        )
        if given.mask is None and call.kept is not None:
            seen = seen & ~columns.keys_of(self.hidden.to(query.device), keys)[:, None, None]
        logits = logits_of(chosen, key, given.scale)
        cap = given.more.get("softcap")
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
            logits = kept_to(intervention, rows, new, logits)
        weights = logits.masked_fill(~seen, torch.finfo(logits.dtype).min).softmax(-1)
        if call.measuring:
            assert calibration is not None
            calibration.keep(layer, call, weights, rows.wanted.to(seen.device), seen)
            return out
        for intervention in acting:
            new = intervention.weights(weights, known)
            weights = kept_to(intervention, rows, new, weights)
        mixed = _mixed(weights.to(value.dtype), value)
        touched = rows.wanted.to(query.device)[..., None, None]
        index = own[:, :, None, None].expand(-1, -1, heads, value.shape[-1])
        mixed = torch.where(touched, mixed, out.gather(1, index))
        return out.scatter(1, index, mixed)


def kept_to(
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


def refuse_unknown_terms(more: dict[str, Any], softcap: bool = False) -> None:
    for argument in ("s_aux", "position_bias", *(("softcap",) if softcap else ())):
        if more.get(argument) is not None:
            raise ModelError(
                f"The attention of this model has a term of its own ({argument}), which a change "
                "of single rows does not know of."
            )


def _plain(
    given: Given,
    seen: torch.Tensor | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Attention (B, Q, A, D) of queries that see some keys, or all before them if None."""
    dropout = given.more.get("dropout") or 0.0
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=seen,
        is_causal=seen is None,
        dropout_p=dropout if given.module.training else 0.0,
        scale=given.scale,
        enable_gqa=query.shape[1] != key.shape[1],
    ).transpose(1, 2)


def _block(chosen: torch.Tensor) -> torch.Tensor | slice:
    """Rising column numbers; a slice, which copies nothing, where none is left out."""
    if len(chosen) and int(chosen[-1]) - int(chosen[0]) + 1 == len(chosen):
        return slice(int(chosen[0]), int(chosen[-1]) + 1)
    return chosen


def rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Queries or keys (B, A, S, D) turned by angles (B, 1, S, D'), D' of D channels rotary."""
    rotary, half = cos.shape[-1], cos.shape[-1] // 2
    turning, rest = states[..., :rotary].float(), states[..., rotary:]
    turned = turning * cos
    turned[..., :half].addcmul_(turning[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(turning[..., :half], sin[..., half:])
    made = turned.to(states.dtype)
    return torch.cat([made, rest], -1) if rest.shape[-1] else made


def logits_of(query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
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
