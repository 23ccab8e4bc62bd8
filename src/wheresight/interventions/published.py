"""What a method's authors searched when they chose its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedGrid:
    """The settings that were searched.

    Attributes:
        values: of each parameter.
        source: where they are printed.
    """

    values: Mapping[str, tuple[float, ...]]
    source: str
