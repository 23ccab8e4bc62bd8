"""Which query rows are read, and what attention they pay as the model computes it.

Legend: B batch, A query heads, K key heads, T the call's own tokens, Q chosen rows, S key columns,
C columns of the history, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from wheresight.errors import ModelError
from wheresight.interventions.inputs import AttentionRows
from wheresight.lvlm import columns
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Kind
from wheresight.lvlm.seams.attention_rows import (
    ChosenRows,
    Given,
    Work,
    kept_to,
    logits_of,
    refuse_unknown_terms,
    rotated,
)

PROMPT_ROWS = ("last", "text", "all")
ROWS = (*PROMPT_ROWS, "generated")
# Logits (B, A, Q, S) that are computed together; a few such tensors are alive at a time.
_TOGETHER = 2**19


def parsed_rows(rows: str) -> tuple[str | None, bool]:
    """Which rows of a prompt are asked for, and whether generated ones are.

    Raises:
        ModelError: rows of no kind, or two kinds of the prompt's.
    """
    names = rows.split("+") if isinstance(rows, str) else []
    prompt = [name for name in names if name in PROMPT_ROWS]
    if not names or len(prompt) > 1 or any(n not in ROWS for n in names):
        raise ModelError(
            f"The rows {rows!r} were asked for; expected one of {', '.join(PROMPT_ROWS)}, or "
            "generated, or both as in 'last+generated'."
        )
    return (prompt[0] if prompt else None), "generated" in names


@dataclass(frozen=True, eq=False)
class ReadRows:
    """The query rows that are read in one call.

    Attributes:
        body: (Q,) int64, rising columns among the call's own tokens that some row of the batch
            reads, the last row of a prompt aside.
        wanted: (B, Q) bool, whether a row of the batch reads them.
        last: (B, 1) int64, the column of the last row; None if it is not read.
        there: (B, 1) bool, whether a row of the batch reads it.
    """

    body: torch.Tensor
    wanted: torch.Tensor
    last: torch.Tensor | None
    there: torch.Tensor


def rows_to_read(call: Call, prompt: str | None, generated: bool) -> ReadRows:
    """The rows of a call that are read.

    `last` is the last real token of a prompt. `text` are the tokens of text behind the first image,
    `all` all tokens but padding and hidden ones. The last row of a prompt stands apart, since it
    may be run once more. In a decode step the last token is the one that was generated.
    """
    kind = call.seen.kind[:, call.past :]
    real = kind != Kind.PAD
    if call.real is not None:
        real = real & call.real[:, call.past :].to(kind.device)
    column = torch.arange(call.tokens, device=kind.device)
    last = torch.where(real, column, -1).amax(1, keepdim=True)
    nothing = column[:0]
    none = ReadRows(nothing, real[:, :0], None, last >= 0)
    if call.stage == "after":
        return ReadRows(nothing, none.wanted, last.clamp_min(0), last >= 0) if generated else none
    if prompt is None:
        return none
    wanted = real & (kind != Kind.HIDDEN)
    if prompt == "text":
        with_image = (call.seen.image >= 0).any(1, keepdim=True)
        wanted = wanted & (kind == Kind.TEXT) & with_image
    there = last >= 0
    if prompt == "text":
        there = there & wanted.gather(1, last.clamp_min(0))
    ends = call.stage == "ends"
    if ends:
        wanted = wanted & (column != last)
    if prompt == "last":
        wanted = torch.zeros_like(wanted)
    used = wanted.any(0).nonzero().flatten()
    return ReadRows(used, wanted[:, used], last.clamp_min(0) if ends else None, there)


def blocks(rows: ReadRows, given: Given) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The body's columns (Q,) and who reads them (B, Q), so many that their logits are few."""
    batch, heads = given.query.shape[:2]
    at_once = max(1, _TOGETHER // (batch * heads * given.key.shape[2]))
    for start in range(0, len(rows.body), at_once):
        yield rows.body[start : start + at_once], rows.wanted[:, start : start + at_once]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the queries of some rows see.

    Attributes:
        logits: (B, A, Q, S), float32 or finer, changed as interventions want it, not masked.
        visible: (B, 1, Q, S) bool.
        weights: (B, A, Q, S), after the softmax and as interventions want them.
    """

    logits: torch.Tensor
    visible: torch.Tensor
    weights: torch.Tensor


def seen_by(
    given: Given,
    work: Work | None,
    call: Call,
    own: torch.Tensor,
    turn: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Seen:
    """What some rows of an attention call see, as the model computes it.

    Args:
        given: what the attention function was called with.
        work: what is changed in this call, or None.
        call: the call.
        own: (B or 1, Q) int64, columns of the rows among the call's own tokens.
        turn: cosines and sines (B or 1, C, D) by which queries and keys of all columns are turned
            once more; None not to. Image queries are then taken to see the ids of text.

    Raises:
        ModelError: an attention function with a term or a mask that cannot be read.
    """
    refuse_unknown_terms(given.more)
    query = given.query
    batch, heads, _, width = query.shape
    own = own.to(query.device).expand(batch, -1)
    chosen = query.gather(2, own[:, None, :, None].expand(-1, heads, -1, width))
    keys = given.key.shape[2]
    total = call.past + call.tokens
    window = given.more.get("sliding_window")
    visible = columns.visible(given.mask, own + call.past, total, keys, window)
    if call.relayout is not None:
        hidden = call.seen.kind == Kind.HIDDEN
        visible = visible & ~columns.keys_of(hidden.to(query.device), keys)[:, None, None]
    visible = visible.expand(batch, -1, -1, -1)
    if turn is not None:
        logits = _turned(given, call, own, chosen, turn)
    else:
        logits = logits_of(chosen, given.key, given.scale)
        if work is not None and work.positions is not None:
            logits = _in_frames(logits, given, work, own, chosen)
    cap = given.more.get("softcap")
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    acting, flags = _acting(given, work, call, own)
    if flags is None or work is None:
        return Seen(logits, visible, _softmax(logits, visible))
    image = columns.keys_of(work.image.to(query.device), keys)[:, None, None]
    known = AttentionRows(
        layer=int(given.module.layer_idx),
        visible=visible,
        image=image,
        decided=call.decided,
        calibration=work.calibration.placed(int(given.module.layer_idx), call, logits)
        if work.calibration is not None
        else None,
    )
    touched = flags.wanted[:, None, :, None]
    stock = logits
    for intervention in acting:
        logits = kept_to(intervention, flags, intervention.logits(logits, known), logits)
    logits = torch.where(touched, logits, stock)
    weights = plain = _softmax(logits, visible)
    for intervention in acting:
        weights = kept_to(intervention, flags, intervention.weights(weights, known), weights)
    return Seen(logits, visible, torch.where(touched, weights, plain))


def _softmax(logits: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    return logits.masked_fill(~visible, torch.finfo(logits.dtype).min).softmax(-1)


def _acting(
    given: Given, work: Work | None, call: Call, own: torch.Tensor
) -> tuple[list[Any], ChosenRows | None]:
    """The interventions that act in this layer, and on which of some rows (B, Q) they do."""
    if work is None or work.rows is None:
        return [], None
    layer = int(given.module.layer_idx)
    acting = [i for i in work.interventions if i.layer_key(layer) is not None]
    if not acting:
        return [], None
    batch = len(own)

    def of_these(flag: torch.Tensor) -> torch.Tensor:
        where = work.rows.own.to(own.device).expand(batch, -1)  # type: ignore[union-attr]
        all_rows = torch.zeros(batch, call.tokens, dtype=torch.bool, device=own.device)
        all_rows.scatter_(1, where, flag.to(own.device).expand(batch, where.shape[1]))
        return all_rows.gather(1, own)

    wanted = of_these(work.rows.wanted)
    if not bool(wanted.any()):
        return [], None
    return acting, ChosenRows(own, wanted, of_these(work.rows.last))


def _in_frames(
    logits: torch.Tensor, given: Given, work: Work, own: torch.Tensor, chosen: torch.Tensor
) -> torch.Tensor:
    """Logits in which image queries see other ids than text queries."""
    assert work.positions is not None
    call = work.call
    image = work.image[:, call.past :].to(own.device).gather(1, own)
    if not bool(image.any()):
        return logits
    angles = work.positions.turn_apart(call, int(given.module.layer_idx))
    if angles is None:
        return logits
    in_frame = _turned(given, call, own, chosen, angles)
    return torch.where(image[:, None, :, None], in_frame, logits)


def _turned(
    given: Given,
    call: Call,
    own: torch.Tensor,
    chosen: torch.Tensor,
    turn: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Logits of chosen queries (B, A, Q, D) with these and all keys turned once more."""
    cos, sin = (a.to(chosen.device).float().expand(len(own), -1, -1) for a in turn)
    index = (call.past + own)[..., None].expand(-1, -1, cos.shape[-1])
    query = rotated(chosen, *(a.gather(1, index)[:, None] for a in (cos, sin)))
    keys = given.key.shape[2]
    at_keys = [
        columns.keys_of(a.transpose(1, 2), keys).transpose(1, 2)[:, None] for a in (cos, sin)
    ]
    return logits_of(query, rotated(given.key, *at_keys), given.scale)
