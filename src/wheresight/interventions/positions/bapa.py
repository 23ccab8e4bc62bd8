"""Balanced Position Assignment: one rotary id for all tokens of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.base import Intervention

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class BaPA(Intervention):
    """Every token of an image gets the id of its first token; text goes on at the next id.

    Zhu et al. 2025, arXiv 2509.21984, eq. 3 and 4. Eq. 4 as printed lets k text tokens end at
    i + k - 1; counted from i + 1 they end at i + k, as in the authors' code and here. The paper
    has one image; with several, each has an id of its own and text between them counts on. Under
    M-RoPE all three rows of an image token are equal, so its row and column are lost too.

    The released code takes the image's start and length from a flattened batch, keeps the decoding
    offset on the module and never clears either. Here each row has its own images, and nothing
    outlives the call.
    """

    name: ClassVar[str] = "bapa"
    paper: ClassVar[str] = "Zhu et al. 2025, arXiv 2509.21984, eq. 3-4"

    def positions(self, ids: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Return ids (R, B, T) with every image drawn together on the id where it began.

        What an image takes up today is read from the ids themselves (last - first), never from its
        number of tokens: 575 for a raster of 24 x 24, but 23 for the same grid under M-RoPE.
        """
        import torch

        image = layout.image
        rows, count = image.shape[0], layout.most_images
        inside = image >= 0
        # Text is sent to a spare last column so that one scatter serves all tokens.
        slot = torch.where(inside, image, count)
        empty = ids.new_zeros(rows, count + 1)
        first = empty.scatter_reduce(1, slot, ids.amin(0), "amin", include_self=False)
        last = empty.scatter_reduce(1, slot, ids.amax(0), "amax", include_self=False)
        saved = (last - first)[:, :count]
        # Images are numbered from 0 in each row, so the running maximum counts those begun.
        begun = (image + 1).cummax(1).values
        zero = ids.new_zeros(rows, 1)
        saved_by = torch.cat([zero, saved.cumsum(1)], 1)
        anchor = first - saved_by
        return torch.where(inside, anchor.gather(1, slot), ids - saved_by.gather(1, begun))
