"""A control: the ids of an image's tokens in reverse order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import ImageSpan, Layout


@dataclass(frozen=True)
class Reverse(Layered):
    """The first token of an image gets the id of its last one, and so on; the rest stays.

    Our own control: a model that favours what has the ids next to the question should now favour
    the other end of the image. Content and mask keep their order. Under M-RoPE the (t, h, w)
    triples are reversed, which turns the grid upside down and left to right. All tokens of an
    image take part, thumbnail and newlines too; hidden ones do not. Twice is as if not at all.
    """

    name: ClassVar[str] = "reverse"
    assigns: ClassVar[bool] = False
    # A token takes the id of one that is yet to come.
    whole_images: ClassVar[bool] = True

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T), those of each image reversed."""
        from wheresight.interventions.geometry import taken_from

        column = taken_from(layout, _order)
        return ids.gather(2, column.expand_as(ids))


def _order(number: int, span: ImageSpan) -> torch.Tensor:
    import torch

    from wheresight.interventions.geometry import shown

    return torch.arange(shown(span)).flip(0)
