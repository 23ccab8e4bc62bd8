"""Which methods go together, and in which order they act.

Features come first, then positions, mask, attention. On one seam:

* features: one after the other, as given; only one may take tokens away.
* positions: one method assigns ids in a layer; those that only rearrange ids act after it. What a
  method on features does to positions (tokens that are no longer there) comes before.
* mask: one method in a layer.
* attention: one after the other, as given; a method that looks at the first answer before it acts
  goes with no other.
* one method twice: only in different layers, where it has layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from wheresight.errors import SpecError
from wheresight.interventions.base import SEAMS, Intervention

# More layers than any model has: ranges are compared before the model is known.
_MANY = 512


def ordered(parts: Sequence[Intervention]) -> tuple[Intervention, ...]:
    """The order in which they act: by seam, those that assign before those that rearrange."""
    seams = list(SEAMS)
    return tuple(sorted(parts, key=lambda part: (seams.index(part.seams()[0]), not _assigns(part))))


def check(parts: Sequence[Intervention]) -> None:
    """Raise SpecError if two of these contradict each other."""
    for a, b in itertools.combinations(parts, 2):
        reason = _clash(a, b)
        if reason:
            raise SpecError(f"'{a}' and '{b}' cannot be combined: {reason}")


def _assigns(part: Intervention) -> bool:
    return part.assigns and part.seams()[0] == "positions"


def _clash(a: Intervention, b: Intervention) -> str | None:
    if not _share_a_layer(a, b):
        return None
    if a.name == b.name:
        return "it is one method twice, in the same layers. Give it once."
    if _assigns(a) and _assigns(b):
        return (
            "both assign the positions of the same layers, and one would undo the other. Leave "
            "one out, or give them different layers."
        )
    if "mask" in a.acting() and "mask" in b.acting():
        return (
            "both set the mask inside images. Leave one out, give them different layers, or turn "
            "off the mask that one brings along (mask=false)."
        )
    if a.hides() and b.hides():
        return "both take image tokens away. Leave one out."
    on_prompt = [p for p in (a, b) if "attention" in p.acting()]
    if len(on_prompt) == 2 and (a.twice or b.twice):
        return (
            "one of them chooses by the first answer of the model as it is otherwise, and both "
            "act on attention. Leave one out."
        )
    return None


def _share_a_layer(a: Intervention, b: Intervention) -> bool:
    return any(
        a.layer_key(layer) is not None and b.layer_key(layer) is not None for layer in range(_MANY)
    )
