"""One shared id for an image as text sees it, its own places as it sees itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered
from wheresight.interventions.positions.bapa import BaPA

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class BaPACross(Layered):
    """Text queries see what BaPA shows them; image queries see what the stock model shows them.

    Ours. BaPA makes every place equally near to the text, and pays with the arrangement inside the
    image, which image tokens no longer see in each other's ids either. Here only what text sees
    changes. Rotary attention depends on differences of ids alone, so each query may see all tokens
    in its own frame: for a text query the ids are BaPA's, for an image query the model's own, for
    its own image, other images and the text before them alike.

    Keys are cached in the frame of text. For image queries they are turned once more by the
    difference of both ids, which is exact up to rounding; a decode step, being text, costs nothing.
    """

    name: ClassVar[str] = "bapa_cross"
    paper: ClassVar[str] = ""

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return BaPA's ids (R, B, T), which text queries see."""
        return BaPA().positions(ids, layout, layer)

    def image_positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return the ids (R, B, T) as they were, which image queries see."""
        return ids
