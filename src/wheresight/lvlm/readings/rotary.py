"""Rotary sensitivity: what attention to image tokens would be if they stood elsewhere.

Keys are taken as the model rotated them, and turned once more by how far their ids would move.
That is exact, because rotations add up. Nothing is handed on to later layers.

Legend: B batch, L layers read, A query heads, M moves, N image tokens, S key columns, C columns of
the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from wheresight.errors import ModelError
from wheresight.lvlm import columns
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Kind, Layout
from wheresight.lvlm.readings.moves import Move, shift
from wheresight.lvlm.readings.reading import Carried, Reading, row_of
from wheresight.lvlm.readings.rows import rows_to_read, seen_by
from wheresight.lvlm.seams.attention_rows import Given, Work


@dataclass(frozen=True, eq=False)
class Turned:
    """What the last row of one prompt would attend to if image tokens stood elsewhere.

    With a_v the attention on image token v, a_V their sum, l_v a logit, and d_v = l_v(moved) - l_v:

    Attributes:
        moves: names of the M moves.
        alpha: (M, L, A), a_V after each move.
        stock: (L, A), a_V where the tokens stand.
        drift: (M, L, A), sum of (a_v / a_V) d_v: the first-order change of log attention.
        gain: (M, L, A), log of the sum of (a_v / a_V) exp(d_v). Where attention is a plain
            softmax, logit(alpha) - logit(stock) equals it exactly.
        rearranged: (M, L, A), total variation between a_v / a_V before and after, 0 to 1: how much
            attention is dealt out otherwise among the image tokens.
        logits: (M + 1, L, A, N), of the image tokens as they stand and after each move; None
            unless asked for.
        layout: of this row of the batch alone (B = 1).
    """

    moves: tuple[str, ...]
    alpha: torch.Tensor
    stock: torch.Tensor
    drift: torch.Tensor
    gain: torch.Tensor
    rearranged: torch.Tensor
    logits: torch.Tensor | None
    layout: Layout


class RotaryReading(Reading[Carried, Turned]):
    """Attention of the prompt's last row on image tokens, if these stood elsewhere.

    Args:
        moves: where they might stand; all one position nearer, and all one further, if not given.
        each: keep the logits of each image token too.
        layers: which to read; None for all.
    """

    name: ClassVar[str] = "rotary"
    looks_at_attention: ClassVar[bool] = True
    turns: ClassVar[bool] = True

    def __init__(
        self,
        moves: Sequence[Move] | None = None,
        *,
        each: bool = False,
        layers: Iterable[int] | None = None,
    ) -> None:
        super().__init__(layers)
        self.moves = tuple((shift(1.0), shift(-1.0)) if moves is None else moves)
        self.each = each

    @property
    def alpha(self) -> torch.Tensor:
        """(P, M, L, A): attention on all image tokens after each move, of all prompts."""
        return torch.stack([one.alpha for one in self.prompts])

    @property
    def stock(self) -> torch.Tensor:
        """(P, L, A): the same where the tokens stand."""
        return torch.stack([one.stock for one in self.prompts])

    def begin(self, call: Call) -> None:
        """Make sure that the ids of what came before are known.

        Raises:
            ModelError: a cache built before the block, or frequencies that hang on the length.
        """
        if call.history is not None and not call.history.ids:
            raise ModelError(
                f"The key-value cache holds {call.past} tokens whose rotary ids were not kept. "
                "Start from an empty cache inside the block."
            )
        assert self.lvlm is not None
        for module in self.lvlm.family.rotary(self.lvlm.core):
            if "dynamic" in str(getattr(module, "rope_type", "")):
                raise ModelError(
                    "The rotary frequencies of this model change with the length of its input "
                    "(dynamic scaling), so its keys cannot be turned once more."
                )

    def look(self, call: Call, given: Given, work: Work | None) -> None:
        """Turn the image keys of one layer."""
        kept = self.of_call(call)
        if "rows" not in kept:
            kept["rows"] = rows_to_read(call, "last", False)
        layer = int(given.module.layer_idx)
        last = kept["rows"].last
        if last is None:
            kept[layer] = None
            return
        device = given.query.device
        image = (call.seen.image >= 0) & (call.seen.kind != Kind.HIDDEN)
        image = columns.keys_of(image.to(device), given.key.shape[2])[:, None]
        stock = seen_by(given, work, call, last)
        there = stock.visible[:, :, 0] & image
        weights = stock.weights[:, :, 0].where(there, 0)
        mass = weights.sum(-1)
        within = weights / mass[..., None]  # 0 / 0 is NaN, as is meant
        logits = [stock.logits[:, :, 0]]
        alphas, drifts, gains, varied = [], [], [], []
        for move in self.moves:
            turn = self._turn(move, call, layer)
            moved = seen_by(given, work, call, last, turn)
            change = (moved.logits[:, :, 0] - logits[0]).where(there, 0)
            alphas.append(moved.weights[:, :, 0].where(there, 0).sum(-1))
            drifts.append((within * change).sum(-1))
            gains.append((within.log() + change).logsumexp(-1))
            after = (within.log() + change - gains[-1][..., None]).exp()
            varied.append((after - within).abs().sum(-1) / 2)
            logits.append(moved.logits[:, :, 0])
        parts = [torch.stack(part, 1) for part in (alphas, drifts, gains, varied)]
        each = [columns.history_of(torch.stack(logits, 1), call.past + call.tokens)]
        kept[layer] = [mass, *parts, *(each if self.each else [])]

    def _turn(self, move: Move, call: Call, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (B, C, D) by which a move turns all tokens in one layer."""
        assert self._tracker is not None
        positions = self._tracker.positions
        ids = positions.ids_of(call, layer)
        made = self.of_call(call).setdefault("turns", {})
        key = (move, id(ids), positions.turned_as(call, layer))
        if key not in made:
            exact = ids.double()
            apart = move.ids(exact, call.seen.to(ids.device)) - exact
            # The ids are kept too: ids of objects are those of objects that are alive.
            made[key] = ids, positions.turn_by(call, layer, apart)
        turn: tuple[torch.Tensor, torch.Tensor] = made[key][1]
        return turn

    def end(self, call: Call) -> None:
        """Put the layers together; keep prompts that end here."""
        assert self.layers is not None
        kept = self.of_call(call)
        self.refuse_missing(n for n in kept if isinstance(n, int))
        if call.stage != "ends":
            return
        parts = [
            torch.stack([one.cpu() for one in part], dim)
            for part, dim in zip(
                zip(*(kept[n] for n in self.layers), strict=True), (1, 2, 2, 2, 2, 2), strict=False
            )
        ]
        stock, alpha, drift, gain, varied, *each = parts
        names = tuple(move.name for move in self.moves)
        found = []
        for b in range(call.batch):
            layout = row_of(call.seen, b)
            of_image = ((layout.image[0] >= 0) & (layout.kind[0] != Kind.HIDDEN)).cpu()
            logits = each[0][b][..., of_image] if each else None
            found.append(
                Turned(
                    names, alpha[b], stock[b], drift[b], gain[b], varied[b], logits, layout
                )
            )  # fmt: skip
        self.keep(call, found)
