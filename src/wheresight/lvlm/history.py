"""What a key-value cache was built from, carried by the cache itself.

A cached key was rotated once and for all, so later tokens must know the ids and the images that
came before them, and by which intervention they were changed. That belongs to a cache and not to a
model: generations may be interleaved, prefixes shared, beams reordered. The record is an attribute
of the cache, and follows it through `copy.deepcopy`, `batch_repeat_interleave`,
`batch_select_indices`, `reorder_cache`, `crop` and `reset`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache

from wheresight.errors import ModelError
from wheresight.lvlm.layout import Layout
from wheresight.lvlm.roomy import leave_room


@dataclass(eq=False)
class History:
    """The past of one cache.

    Attributes:
        spec: canonical spec under which the keys were made; without methods that change the last
            row of a prompt alone, while that row has not come.
        layout: of the first columns; all columns after it are text.
        length: columns in all, padding included.
        ids: rotary ids as the model made them, in pieces (R, B, t) that add up to `length`;
            empty if nothing acts on positions.
        offsets: for each group of layers, (R, B, 1): what to add to the ids of text that follows.
            Empty if that is not known (the last column is of an image, or text does not move
            rigidly), so that the whole history must be thought through again.
        remembered: what the family keeps of a prefill, (B, ...).
        readings: what each reading has seen of these columns, by its token; None if a part of that
            was cut off.
        open: True while a forward call under `spec` is using the cache.
    """

    spec: str
    layout: Layout
    length: int
    ids: list[torch.Tensor] = field(default_factory=list)
    offsets: list[torch.Tensor] = field(default_factory=list)
    remembered: torch.Tensor | None = None
    readings: dict[int, Any] = field(default_factory=dict)
    open: bool = False

    def full_layout(self) -> Layout:
        """The layout of all columns."""
        self.layout = self.layout.extended(self.length - self.layout.length)
        return self.layout

    def full_ids(self) -> torch.Tensor:
        """The original ids of all columns, (R, B, length)."""
        if len(self.ids) > 1:
            self.ids = [torch.cat(self.ids, -1)]
        return self.ids[0]

    def take(self, rows: torch.Tensor) -> None:
        """Keep these rows of the batch, in this order, repeats allowed."""
        self.layout = self.layout.take(rows)
        if self.ids:
            ids = self.full_ids()
            self.ids = [ids[:, rows.to(ids.device)]]
        self.offsets = [offset[:, rows.to(offset.device)] for offset in self.offsets]
        if self.remembered is not None:
            self.remembered = self.remembered[rows.to(self.remembered.device)]
        self.readings = {k: None if v is None else v.take(rows) for k, v in self.readings.items()}

    def cut(self, length: int) -> None:
        """Forget all columns from `length` on."""
        if length >= self.length:
            return
        if length < self.layout.length:
            # What is left may end anywhere, so the offsets have to be found anew.
            self.layout = self.layout.cut(length)
            self.offsets = []
        if self.ids:
            self.ids = [self.full_ids()[..., :length]]
        self.readings = {k: None if v is None else v.cut(length) for k, v in self.readings.items()}
        self.length = length


def history_of(cache: Any) -> History | None:
    """The record a cache carries, or None."""
    return getattr(cache, "_wheresight", None)


def attach(cache: Cache, history: History) -> None:
    """Let a cache carry a record from now on.

    The cache gets a subclass of its own class, because only its methods know when rows are
    repeated, reordered or dropped; everything else about it stays as it was.
    """
    if not isinstance(cache, _Recorded):
        cache.__class__ = _recorded(type(cache))
    cache._wheresight = history  # type: ignore[attr-defined]


def branch(
    cache: Cache, rows: torch.Tensor | None = None, *, recorded: bool = True, room: int = 0
) -> Cache:
    """A cache of these rows of another (of all), which stays as it is; repeats allowed.

    With `recorded` the record goes along. Without, the branch is for a stock model, and the cache
    must have been built as one. With `rows`, `room` is left for so many columns to come, which are
    then added without a copy; not under gradients.

    Cached keys and values are never changed in place by a cache that grows, so only the books are
    copied (where there is room, only behind the columns of all branches that are alive). Not for
    static caches.
    """
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    history = history_of(cache)
    if history is not None and not recorded:
        if history.spec != "none":
            raise ModelError(
                f"A key-value cache built under {history.spec!r} cannot go on without it."
            )
        twin._wheresight = None  # type: ignore[attr-defined]
    elif history is not None:
        twin._wheresight = _twin(history)  # type: ignore[attr-defined]
    if rows is not None:
        if room:
            leave_room(twin, room)
        twin.batch_select_indices(rows)
    return twin


def _twin(history: History) -> History:
    return dataclasses.replace(
        history, ids=list(history.ids), readings=dict(history.readings)
    )  # fmt: skip


class _Recorded:
    """What is added to a cache's class; it stands before it in the method resolution order."""

    _wheresight: History | None = None

    def update(self, *args: Any, **kwargs: Any) -> Any:
        history = self._wheresight
        # Called by every attention layer, so the way out when all is well is short.
        if history is not None and not history.open and self.get_seq_length() > 0:  # type: ignore[attr-defined]
            if history.spec == "none":  # made by the stock model, which may go on unwatched
                self._wheresight = None
                return super().update(*args, **kwargs)  # type: ignore[misc]
            raise ModelError(
                f"This key-value cache was built under the intervention {history.spec!r}, which "
                "is not active now, or not reaching this model (a model compiled before entering "
                "ignores it). Enter it again, or start from a new cache."
            )
        return super().update(*args, **kwargs)  # type: ignore[misc]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        super().reorder_cache(beam_idx)  # type: ignore[misc]
        if self._wheresight is not None:
            self._wheresight.take(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)  # type: ignore[misc]
        if self._wheresight is not None:
            rows = torch.arange(self._wheresight.layout.batch, device=indices.device)
            self._wheresight.take(rows[indices])

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)  # type: ignore[misc]
        if self._wheresight is not None:
            rows = torch.arange(self._wheresight.layout.batch)
            self._wheresight.take(rows.repeat_interleave(repeats))

    def reset(self) -> None:
        super().reset()  # type: ignore[misc]
        self._wheresight = None

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
        # The class is made on the fly, so copies and pickles name the class it was made from.
        return _blank, (type(self).__mro__[2],), self.__dict__


_RECORDED: dict[type, type] = {}


def _recorded(base: type) -> type:
    if base not in _RECORDED:
        members = {"__module__": base.__module__}
        _RECORDED[base] = type(base.__name__, (_Recorded, base), members)
    return _RECORDED[base]


def _blank(base: type) -> Any:
    return object.__new__(_recorded(base))
