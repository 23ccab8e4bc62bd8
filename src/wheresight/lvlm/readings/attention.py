"""Attention masses: how much chosen query rows attend to system, image and text tokens.

Beside the model's own attention function, the chosen rows are computed once more in float32, a
block of rows at a time, and summed up. So the output is that of the model bit for bit, and no
attention matrix is kept.

Legend: B batch, L layers read, A query heads, C columns of the history, H x W grid of an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from wheresight.errors import ModelError
from wheresight.lvlm import columns
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import ImageSpan, Kind, Layout
from wheresight.lvlm.readings.reading import Reading, row_of
from wheresight.lvlm.readings.rows import ReadRows, blocks, parsed_rows, rows_to_read, seen_by
from wheresight.lvlm.seams.attention_rows import Given, Work

GROUPS = ("system", "image", "text")


@dataclass(frozen=True, eq=False)
class Masses:
    """What the query rows of one prompt, or of one step, attend to; means over these rows.

    Attributes:
        mass: (L, A, 3), share of attention on system, image and text tokens (see `GROUPS`).
            System is all text before the first image; text is all other, also generated text.
            NaN where there are no such rows (`rows` 0).
        entropy: (L, A), entropy of attention over the image tokens alone, nats; mean over the rows
            that attend to any. NaN if none does.
        each: (L, A, C), attention on each column; None unless asked for.
        rows: how many query rows these are means of.
        layout: what the columns are, of this row of the batch alone (B = 1).
    """

    mass: torch.Tensor
    entropy: torch.Tensor
    each: torch.Tensor | None
    rows: int
    layout: Layout

    @property
    def columns(self) -> torch.Tensor:
        """(L, A, C): attention on each column.

        Raises:
            ModelError: if it was not asked for.
        """
        if self.each is None:
            raise ModelError("Attention on each token was not kept. Read with each=True.")
        return self.each

    @property
    def image(self) -> torch.Tensor:
        """(L, A, N): attention on each of the prompt's image tokens, from left to right."""
        shown = (self.layout.image[0] >= 0) & (self.layout.kind[0] != Kind.HIDDEN)
        return self.columns[..., shown.cpu()]

    def grid(self, number: int = 0) -> torch.Tensor:
        """(L, A, H, W): attention on the main grid of one image.

        Raises:
            ModelError: no such image, or one whose tokens have no known places.
        """
        span = _span(self.layout, number)
        tokens = self.columns[..., span.start : span.stop]
        main = span.tokens.table()[0] == Kind.PATCH
        return tokens[..., main].unflatten(-1, (span.tokens.height, span.tokens.width))


def _span(layout: Layout, number: int) -> ImageSpan:
    spans = layout.images[0]
    if not 0 <= number < len(spans):
        raise ModelError(f"Image {number} was asked for of a prompt with {len(spans)} images.")
    if not spans[number].tokens.height or not spans[number].complete:
        raise ModelError(f"The tokens of image {number} have no known places in a grid.")
    return spans[number]


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over query rows.

    Attributes:
        rows: (B,), how many.
        mass: (B, L, A, 3).
        entropy: (B, L, A), over the rows that attend to image tokens.
        lit: (B, L, A), how many rows do.
        each: (B, L, A, C) or None.
    """

    rows: torch.Tensor
    mass: torch.Tensor
    entropy: torch.Tensor
    lit: torch.Tensor
    each: torch.Tensor | None

    def take(self, rows: torch.Tensor) -> Sums:
        """Of these rows of the batch."""
        rows = rows.cpu()
        each = None if self.each is None else self.each[rows]
        return Sums(
            self.rows[rows], self.mass[rows], self.entropy[rows], self.lit[rows], each
        )  # fmt: skip

    def __add__(self, other: Sums) -> Sums:
        each = self.each
        if each is not None and other.each is not None:
            each = F.pad(each, (0, other.each.shape[-1] - each.shape[-1])) + other.each
        return Sums(
            self.rows + other.rows,
            self.mass + other.mass,
            self.entropy + other.entropy,
            self.lit + other.lit,
            each,
        )


@dataclass(frozen=True, eq=False)
class Carry:
    """The sums of a prompt so far, its latest last row apart.

    Attributes:
        body: of the first `length` - 1 columns, or of all if there is no tail.
        tail: of the last row alone, or None.
        length: columns in all.
    """

    body: Sums
    tail: Sums | None
    length: int

    @property
    def whole(self) -> Sums:
        """Of all rows."""
        return self.body if self.tail is None else self.body + self.tail

    def take(self, rows: torch.Tensor) -> Carry:
        """Of these rows of the batch."""
        tail = None if self.tail is None else self.tail.take(rows)
        return Carry(self.body.take(rows), tail, self.length)

    def cut(self, length: int) -> Carry | None:
        """Of the first columns; only the last one can be cut off."""
        if length >= self.length:
            return self
        if self.tail is None or length < self.length - 1:
            return None
        return Carry(self.body, None, length)


class AttentionReading(Reading[Carry, Masses]):
    """How much chosen query rows attend to system, image and text tokens, per layer and head.

    Args:
        rows: `last` (the last token of the prompt), `text` (all text behind the first image), `all`
            (every token), `generated` (each token that was generated and fed back), or two of these
            joined by `+`, of which one is `generated`.
        each: keep the attention on each column too.
        layers: which to read; None for all.

    Attributes:
        steps: what was kept of each decode step, one list a call with one entry a row.
    """

    name: ClassVar[str] = "attention"
    looks_at_attention: ClassVar[bool] = True

    def __init__(
        self, rows: str = "last", *, each: bool = False, layers: Iterable[int] | None = None
    ) -> None:
        super().__init__(layers)
        self.rows = rows
        self.of_prompt, self.generated = parsed_rows(rows)
        self.each = each
        self.steps: list[list[Masses]] = []

    @property
    def mass(self) -> torch.Tensor:
        """(P, L, A, 3): share of attention on system, image and text tokens, of all prompts."""
        return torch.stack([one.mass for one in self.prompts])

    @property
    def entropy(self) -> torch.Tensor:
        """(P, L, A): entropy over image tokens, nats, of all prompts."""
        return torch.stack([one.entropy for one in self.prompts])

    def clear(self) -> None:
        """Forget all prompts and steps."""
        super().clear()
        self.steps = []

    def require(self) -> None:
        """Raise ModelError if nothing was read."""
        if self.of_prompt is not None:
            super().require()
        if self.generated and not self.steps:
            raise ModelError(
                "The reading 'attention' saw no generated token. Run generate inside the block, "
                "for more than one new token."
            )

    # ---- one call ---------------------------------------------------------------------------

    def look(self, call: Call, given: Given, work: Work | None) -> None:
        """Sum up one layer."""
        kept = self.of_call(call)
        if "rows" not in kept:
            kept["rows"] = rows_to_read(call, self.of_prompt, self.generated)
            kept["groups"] = _groups(call.seen)
        rows: ReadRows = kept["rows"]
        device = given.query.device
        groups = columns.keys_of(kept["groups"].to(device), given.key.shape[2])
        total = call.past + call.tokens
        body = None
        for own, wanted in blocks(rows, given):
            part = _summed(seen_by(given, work, call, own[None]).weights, wanted, groups)
            body = part if body is None else tuple(map(torch.add, body, part))
        tail = None
        if rows.last is not None:
            tail = _summed(seen_by(given, work, call, rows.last).weights, rows.there, groups)
        kept[int(given.module.layer_idx)] = tuple(
            None if part is None else self._reduced(part, groups, total) for part in (body, tail)
        )

    def _reduced(
        self, part: tuple[torch.Tensor, ...], groups: torch.Tensor, total: int
    ) -> tuple[torch.Tensor, ...]:
        """Of sums by key only what is to be kept: by group, and by column if asked for."""
        tokens, entropy, lit = part
        mass = torch.einsum("bas,bgs->bag", tokens, groups.to(tokens.dtype))
        each = (columns.history_of(tokens, total),) if self.each else ()
        return mass, entropy, lit, *each

    def end(self, call: Call) -> Carry | None:
        """Put the layers together; keep prompts that end here, and steps."""
        kept = self.of_call(call)
        assert self.layers is not None
        self.refuse_missing(n for n in kept if isinstance(n, int))
        rows: ReadRows = kept["rows"]
        total = call.past + call.tokens
        tail = _stacked([kept[n][1] for n in self.layers], rows.there.sum(1))
        if call.stage == "after" and self.generated:
            self.steps.append(_means(tail, call.seen))
        if self.of_prompt not in ("text", "all"):
            if call.stage == "ends" and self.of_prompt is not None:
                self.keep(call, _means(tail, call.seen))
            return None
        before = self.carried(call)
        if call.stage == "after":
            # Generated text is no part of a prompt that may follow.
            return None if before is None else Carry(before.whole, None, total)
        body = _stacked([kept[n][0] for n in self.layers], rows.wanted.sum(1))
        body = self._nothing(call) if body is None else body
        carry = Carry(body if before is None else before.whole + body, tail, total)
        if call.stage == "ends":
            self.keep(call, _means(carry.whole, call.seen))
        return carry

    def _nothing(self, call: Call) -> Sums:
        assert self.lvlm is not None and self.layers is not None
        heads = self.lvlm.core.config.get_text_config().num_attention_heads
        shape = (call.batch, len(self.layers), heads)
        total = call.past + call.tokens
        return Sums(
            torch.zeros(call.batch),
            torch.zeros(*shape, len(GROUPS)),
            torch.zeros(shape),
            torch.zeros(shape),
            torch.zeros(*shape, total) if self.each else None,
        )


def _groups(layout: Layout) -> torch.Tensor:
    """(B, 3, C) bool: which columns are system, image and text."""
    kind = layout.kind
    image = (layout.image >= 0) & (kind != Kind.HIDDEN)
    return torch.stack([kind == Kind.SYSTEM, image, kind == Kind.TEXT], 1)


def _summed(
    weights: torch.Tensor, wanted: torch.Tensor, groups: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Sums over rows: attention on keys (B, A, S), entropy over image keys and rows lit (B, A)."""
    counted = wanted.to(weights.device, weights.dtype)
    tokens = torch.einsum("baqs,bq->bas", weights, counted)
    image = groups[:, GROUPS.index("image")].to(weights.dtype)
    mass = torch.einsum("baqs,bs->baq", weights, image)
    # Entropy of w / m over image keys is log m - sum(w log w) / m.
    spread = torch.einsum("baqs,bs->baq", torch.special.xlogy(weights, weights), image)
    lit = (mass > 0) & wanted.to(weights.device)[:, None]
    entropy = (mass.log() - spread / mass).where(lit, 0)
    return tokens, entropy.sum(-1), lit.sum(-1).to(weights.dtype)


def _stacked(layers: Sequence[Any], rows: torch.Tensor) -> Sums | None:
    """The sums of all layers together, on the CPU; None if nothing was summed."""
    if layers[0] is None:
        return None
    device = layers[0][0].device
    parts = [torch.stack([one.to(device) for one in part], 1).cpu() for part in zip(*layers)]  # noqa: B905
    mass, entropy, lit, *each = parts
    return Sums(rows.cpu().to(mass.dtype), mass, entropy, lit, each[0] if each else None)


def _means(sums: Sums | None, layout: Layout) -> list[Masses]:
    """One entry a row of the batch."""
    if sums is None:
        return []
    rows = sums.rows[:, None, None, None]  # 0 / 0 is NaN, as is meant
    mass, entropy = sums.mass / rows, sums.entropy / sums.lit
    each = None if sums.each is None else sums.each / rows
    return [
        Masses(
            mass[b], entropy[b], None if each is None else each[b], int(count), row_of(layout, b)
        )
        for b, count in enumerate(sums.rows.tolist())
    ]
