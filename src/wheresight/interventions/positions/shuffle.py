"""A control: the ids of an image's tokens, dealt out to them at random."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered
from wheresight.interventions.ranges import whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import ImageSpan, Layout


@dataclass(frozen=True)
class Shuffle(Layered):
    """The ids of an image's tokens are permuted among them; everything else stays as it was.

    Our own control: the image takes up the same ids and is as far from the text as before, but an
    id no longer says where a token is. Content and mask keep their order, so it tells what comes
    from rotary ids and what from the order of tokens. Under M-RoPE the (t, h, w) triples are
    permuted. All tokens of an image take part, thumbnail and newlines too; hidden ones do not.

    The permutation follows from the seed, the number of the image in its row and its number of
    tokens alone: not from the batch, and not from the layer.

    Parameters:
        seed: which permutation, from 0.
    """

    name: ClassVar[str] = "shuffle"
    assigns: ClassVar[bool] = False
    # A token may take the id of one that is yet to come.
    whole_images: ClassVar[bool] = True

    seed: int = 0

    def __post_init__(self) -> None:
        whole_number(self.name, "seed", self.seed, 0, 2**63 - 1)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T), those of each image permuted."""
        from wheresight.interventions.geometry import taken_from

        column = taken_from(layout, self._order)
        return ids.gather(2, column.expand_as(ids))

    def _order(self, number: int, span: ImageSpan) -> torch.Tensor:
        import torch

        from wheresight.interventions.geometry import shown

        count = shown(span)
        if count < 2:
            return torch.arange(count)
        # Tokens are sorted by random keys that no release of torch will change.
        keys = hashlib.shake_256(f"{self.seed}/{number}/{count}".encode()).digest(8 * count)
        return torch.frombuffer(bytearray(keys), dtype=torch.int64, count=count).argsort()
