"""Layouts: which pair stands in which cell. One file each, `arrange` in all of them.

A layout is a function `arrange(key, distractors, cell, seed)` that returns the pair id of every
cell, row-major. It must place each pair once and the key at `cell`. Third parties register theirs
through the entry-point group `wheresight.layouts`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol, cast

from wheresight.errors import StimulusError, unknown_name

LAYOUTS = {
    "swap": "wheresight.stimuli.layouts.swap:arrange",
    "insert": "wheresight.stimuli.layouts.insert:arrange",
}


class Arrange(Protocol):
    """Give the pair id of every cell, row-major, the key at `cell`."""

    def __call__(
        self, key: str, distractors: Sequence[str], cell: int, seed: int
    ) -> tuple[str, ...]: ...


def layouts() -> dict[str, str]:
    """Names of layouts and the `module:function` behind each, those of plug-ins included."""
    found = {e.name: e.value for e in entry_points(group="wheresight.layouts")}
    return {**found, **LAYOUTS}


@functools.cache
def layout(name: str) -> Arrange:
    """Return the arranging function of a layout.

    Raises:
        StimulusError: if no layout has this name.
    """
    known = LAYOUTS if name in LAYOUTS else layouts()
    if name not in known:
        raise StimulusError(unknown_name("layout", name, known))
    module, _, function = known[name].partition(":")
    return cast(Arrange, getattr(importlib.import_module(module), function))
