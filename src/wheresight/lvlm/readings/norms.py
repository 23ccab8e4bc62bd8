"""Norms of token embeddings and of the residual stream, by layer and token group.

Read where each layer takes its input, and before the last norm, so that what is added between
layers is in it. Hidden states that transformers returns are not the same: its last ones are
already normed.

Legend: B batch, L layers of the model, T the call's own tokens, C columns of the history.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Kind, Layout
from wheresight.lvlm.readings.reading import Reading, row_of
from wheresight.lvlm.seams.seam import Handle

GROUPS = ("system", "image", "text")


@dataclass(frozen=True, eq=False)
class Norms:
    """The norms of one prompt's tokens.

    Attributes:
        norms: (L + 1, C), L2 norms: of what enters each layer, the embeddings first, and of what
            leaves the last one, before the last norm.
        layout: what the columns are, of this row of the batch alone (B = 1).
    """

    norms: torch.Tensor
    layout: Layout

    def of(self, group: str) -> torch.Tensor:
        """(L + 1, n): of the `system`, `image` or `text` tokens. System is all text before the
        first image."""
        return self.norms[:, self._where(group)]

    def _where(self, group: str) -> torch.Tensor:
        kind = self.layout.kind[0].cpu()
        if group == "image":
            return (self.layout.image[0].cpu() >= 0) & (kind != Kind.HIDDEN)
        return kind == {"system": Kind.SYSTEM, "text": Kind.TEXT}[group]

    def mean(self, group: str) -> torch.Tensor:
        """(L + 1,): mean norm of a group; NaN if it has no tokens."""
        return self.of(group).mean(-1)

    def quantiles(self, group: str, at: tuple[float, ...]) -> torch.Tensor:
        """(len(at), L + 1): quantiles of a group's norms; NaN if it has no tokens."""
        found = self.of(group)
        if found.shape[-1] == 0:
            return found.new_full((len(at), found.shape[0]), torch.nan)
        return found.quantile(torch.tensor(at, dtype=found.dtype), dim=-1)

    @property
    def ratio(self) -> torch.Tensor:
        """(L + 1,): mean norm of image tokens over that of text tokens."""
        return self.mean("image") / self.mean("text")


@dataclass(frozen=True, eq=False)
class Carry:
    """The norms (B, L + 1, C) of the columns so far."""

    norms: torch.Tensor

    def take(self, rows: torch.Tensor) -> Carry:
        """Of these rows of the batch."""
        return Carry(self.norms[rows.cpu()])

    def cut(self, length: int) -> Carry:
        """Of the first columns."""
        return Carry(self.norms[..., :length])


class NormsReading(Reading[Carry, Norms]):
    """Norms of embeddings and of the residual stream of every token of a prompt."""

    name: ClassVar[str] = "norms"

    def __init__(self) -> None:
        super().__init__()

    @property
    def ratio(self) -> torch.Tensor:
        """(P, L + 1): mean norm of image tokens over that of text tokens, of all prompts."""
        return torch.stack([one.ratio for one in self.prompts])

    def hooks(self, current: Callable[[], Call | None]) -> list[Handle]:
        """On the input of each layer and of the last norm."""
        assert self.lvlm is not None
        family, core = self.lvlm.family, self.lvlm.core
        modules = (*family.layers(core), family.final_norm(core))
        return [
            module.register_forward_pre_hook(_Look(self, n, current), with_kwargs=True)
            for n, module in enumerate(modules)
        ]

    def see(self, call: Call, number: int, states: torch.Tensor) -> None:
        """Keep the norms of states (B, T, D)."""
        with torch.no_grad():
            exact = states.to(torch.promote_types(states.dtype, torch.float32))
            self.of_call(call)[number] = exact.norm(dim=-1)

    def end(self, call: Call) -> Carry:
        """Keep the norms of prompts that end here."""
        assert self.layers is not None
        kept = self.of_call(call)
        self.refuse_missing(kept)
        states = [kept[n].cpu() for n in range(len(self.layers) + 1)]
        norms = torch.stack(states, 1)
        before = self.carried(call)
        if before is not None:
            norms = torch.cat([before.norms, norms], -1)
        if call.stage == "ends":
            self.keep(call, [Norms(norms[b], row_of(call.seen, b)) for b in range(call.batch)])
        return Carry(norms)


class _Look:
    """A hook that shows a module's input to the reading; a copy of the model is not watched."""

    def __init__(
        self, reading: NormsReading, number: int, current: Callable[[], Call | None]
    ) -> None:
        self.see = functools.partial(_shown, reading, number, current)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Look:
        twin = object.__new__(_Look)
        twin.see = _nothing  # type: ignore[assignment]
        return twin

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.see(args, kwargs)


def _shown(
    reading: NormsReading,
    number: int,
    current: Callable[[], Call | None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    call = current()
    if call is not None and not call.measuring:
        reading.see(call, number, args[0] if args else kwargs["hidden_states"])


def _nothing(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What a hook on a copy of the model does."""
