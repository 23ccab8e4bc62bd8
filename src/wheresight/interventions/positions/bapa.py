"""Balanced Position Assignment: one rotary id for all tokens of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class BaPA(Layered):
    """Every token of an image gets the id of its first token; text goes on at the next id.

    Zhu et al. 2025, arXiv 2509.21984, eq. 3 and 4. Eq. 4 as printed lets k text tokens end at
    i + k - 1; counted from i + 1 they end at i + k, as in the authors' code and here. The paper
    has one image; with several, each has an id of its own and text between them counts on. Under
    M-RoPE all three rows of an image token are equal, so its row and column are lost too.

    The released code takes the image's start and length from a flattened batch, keeps the decoding
    offset on the module and never clears either. Here each row has its own images, and nothing
    outlives the call.

    Parameters:
        text_only: the image keeps its rows and columns, and only the text after it moves up to the
            id that follows the image's first. Of M-RoPE models only: on a line there are no rows
            and columns to keep.
    """

    name: ClassVar[str] = "bapa"
    paper: ClassVar[str] = "Zhu et al. 2025, arXiv 2509.21984, eq. 3-4"

    text_only: bool = False

    def refuses(self, host: Host) -> str | None:
        """`text_only` asks for M-RoPE."""
        if self.text_only and host.rotary_rows == 1:
            return (
                "text_only keeps the rows and columns of M-RoPE, but this family has one rotary "
                "id a token. Leave text_only out."
            )
        return super().refuses(host)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T) with every image drawn together on the id where it began."""
        from wheresight.interventions.geometry import arrange

        image, count = layout.image, layout.most_images
        one = ids.new_ones(image.shape[0], count)
        offset = ids.new_zeros(1)
        if self.text_only:
            # Relative to the image's first id, rows and columns are what they were.
            slot = image.clamp_min(0)
            empty = ids.new_zeros(image.shape[0], count + 1)
            first = empty.scatter_reduce(
                1, image.masked_fill(image < 0, count), ids.amin(0), "amin", include_self=False
            )
            offset = ids - first.gather(1, slot)
        return arrange(ids, image, count, offset, one).expand_as(ids)
