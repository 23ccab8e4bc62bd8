"""How a training went, in two sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from wheresight.training.record import Step


def say_curve(console: Console, curve: Sequence[Step], trained: str) -> None:
    """Print what was trained, and the loss of the first and of the last tenth of the steps."""
    tenth = max(1, len(curve) // 10)
    first, last = (sum(s.loss for s in part) / tenth for part in (curve[:tenth], curve[-tenth:]))
    console.print(
        f"\n{trained} Loss of the first tenth of {len(curve):,} steps: {first:.4f}; of the last: "
        f"{last:.4f}."
    )
