"""Where tokens might stand instead: what a reading of rotary sensitivity turns keys to.

Legend: R rotary rows (1, or 3 under M-RoPE: time, height, width), B batch, C columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.layout import ImageSpan, Kind, Layout

Ids = torch.Tensor


@dataclass(frozen=True, eq=False)
class Move:
    """Other rotary ids for some tokens.

    Attributes:
        name: what the move is called.
        ids: makes the ids (R, B, C) that tokens shall have from those they have and a layout of the
            B rows and C columns. Queries turn with their tokens.
    """

    name: str
    ids: Callable[[Ids, Layout], Ids]


def shift(amount: float, axis: Literal["all", "row", "column"] = "all") -> Move:
    """All image tokens moved by a number of positions.

    Along `all` rotary rows; along the image's columns or rows alone: under M-RoPE in its row of
    ids, else by one id a column, and by as many ids a row as the image has tokens in one.
    """

    def moved(ids: Ids, layout: Layout) -> Ids:
        image = _image(layout).to(ids.device)
        if axis == "all":
            return torch.where(image, ids + amount, ids)
        if ids.shape[0] == 3:
            which = 1 if axis == "row" else 2
            step = torch.zeros(3, 1, 1, dtype=ids.dtype, device=ids.device)
            step[which] = amount
            return torch.where(image, ids + step, ids)
        if axis == "column":
            return torch.where(image, ids + amount, ids)
        return _by_image(ids, layout, lambda own, span: own + amount * _stride(span))

    name = f"shift={amount:+g}" if axis == "all" else f"{axis}={amount:+g}"
    return Move(name, moved)


def shift_everything(amount: float) -> Move:
    """All tokens moved by a number of positions; it changes nothing, and so checks a reading."""
    return Move(f"everything={amount:+g}", lambda ids, layout: ids + amount)


def collapse() -> Move:
    """All tokens of an image at one position, the mean of those they have."""
    return Move(
        "collapse",
        lambda ids, layout: _by_image(
            ids, layout, lambda own, span: own.mean(-1, keepdim=True).expand_as(own)
        ),
    )


def reverse() -> Move:
    """The positions of an image's tokens dealt out the other way round."""
    return Move(
        "reverse", lambda ids, layout: _by_image(ids, layout, lambda own, span: own.flip(-1))
    )


def permute(seed: int) -> Move:
    """The positions of an image's tokens dealt out at random.

    All images of one number of tokens are dealt out alike.
    """

    def dealt(own: Ids, span: ImageSpan) -> Ids:
        generator = torch.Generator().manual_seed(seed)
        return own[..., torch.randperm(own.shape[-1], generator=generator).to(own.device)]

    return Move("permute", lambda ids, layout: _by_image(ids, layout, dealt))


def _image(layout: Layout) -> torch.Tensor:
    return (layout.image >= 0) & (layout.kind != Kind.HIDDEN)


def _stride(span: ImageSpan) -> int:
    if not span.tokens.height:
        raise ModelError("A shift by rows needs images whose tokens have known places in a grid.")
    return span.tokens.width + span.tokens.newlines


def _by_image(ids: Ids, layout: Layout, move: Callable[[Ids, ImageSpan], Ids]) -> Ids:
    """Move the ids (R, n) of each image alone; its hidden tokens stay where they are."""
    new = ids.clone()
    there = _image(layout).to(ids.device)
    for b, spans in enumerate(layout.images):
        for span in spans:
            at = torch.arange(max(span.start, 0), span.stop, device=ids.device)
            at = at[there[b, at]]
            new[:, b, at] = move(ids[:, b, at], span)
    return new
