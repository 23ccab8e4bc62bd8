"""Layout `insert`: the key is put between the distractors, which slide along.

As in the pictures released with arXiv 2509.21984: `distractors.insert(cell, key)`. All distractors
between two positions of the key move by one cell, so more than the key's position changes; the
layout is here to reproduce those pictures. `swap` is the one to measure with.
"""

from __future__ import annotations

from collections.abc import Sequence


def arrange(key: str, distractors: Sequence[str], cell: int, seed: int) -> tuple[str, ...]:
    """Arrange the distractors in their order, with the key put in at `cell`. No seed is used."""
    return (*distractors[:cell], key, *distractors[cell:])
