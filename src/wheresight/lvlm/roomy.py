"""A cache layer that has room for tokens to come, so that adding them copies no keys.

A dynamic layer is copied whole for every token that is added. Where rows of a prefix are repeated
for their questions it is copied anyway, and room for the rest of the prompt costs nothing.

Legend: B rows, K key heads, S columns, D width of a head.
"""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class Room:
    """Keys and values with more columns than are used yet.

    Attributes:
        keys, values: (B, K, S + room, D).
        writer: who wrote last. Branches share the room, so nobody writes over columns that a branch
            which is still alive has written.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.keys, self.values = keys, values
        self.writer: weakref.ref[RoomyLayer] | None = None

    def holds(self, layer: RoomyLayer, more: int) -> bool:
        """True if the layer's columns are the first ones here, and as many more fit behind them
        without harm to another branch that is still alive."""
        keys, values = layer.held()
        writer = self.writer() if self.writer is not None else None
        free = writer is None or writer is layer or writer.get_seq_length() <= keys.shape[-2]
        return (
            free
            and keys.shape[0] == self.keys.shape[0]
            and keys.data_ptr() == self.keys.data_ptr()
            and values.data_ptr() == self.values.data_ptr()
            and keys.shape[-2] + more <= self.keys.shape[-2]
        )


class RoomyLayer(DynamicLayer):
    """A dynamic layer that leaves room when its rows are selected, and fills it in place."""

    more = 0
    room: Room | None = None

    def held(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (B, K, S, D)."""
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows (B,), repeats allowed, and leave room behind their columns."""
        if self.get_seq_length() == 0:
            return
        columns = self.get_seq_length()
        made = []
        for held in self.held():
            _, heads, _, width = held.shape
            whole = held.new_empty(len(indices), heads, columns + self.more, width)
            torch.index_select(held, 0, indices.to(held.device), out=whole[:, :, :columns])
            made.append(whole)
        self.room = Room(*made)
        self.keys, self.values = (whole[:, :, :columns] for whole in made)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values (B, K, t, D); return all."""
        more = key_states.shape[-2]
        if self.room is None or not self.is_initialized or not self.room.holds(self, more):
            keys, values = super().update(key_states, value_states, *args, **kwargs)
            return keys, values
        self.room.writer = weakref.ref(self)
        first = self.get_seq_length()
        stop = first + more
        self.room.keys[:, :, first:stop] = key_states
        self.room.values[:, :, first:stop] = value_states
        self.keys, self.values = self.room.keys[:, :, :stop], self.room.values[:, :, :stop]
        return self.held()


def leave_room(cache: Cache, more: int) -> None:
    """Let the dynamic layers of a cache leave room for so many columns when rows are selected.

    Not for use under gradients: columns are written in place.
    """
    layers = []
    for layer in cache.layers:
        if type(layer) is DynamicLayer:
            roomy = RoomyLayer.__new__(RoomyLayer)
            roomy.__dict__ = copy.copy(layer.__dict__)
            roomy.more = more
            layer = roomy
        layers.append(layer)
    cache.layers = layers
