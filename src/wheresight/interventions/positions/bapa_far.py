"""BaPA's control: one id for all tokens of an image, and the image no nearer to the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class BaPAFar(Layered):
    """Every token of an image gets the last id the image takes up; text stays where it was.

    Our own control for BaPA (Zhu et al. 2025, arXiv 2509.21984): equality without proximity. BaPA
    makes the ids of an image equal and brings the image nearer to the text, both at once; here
    they are equal, i + N - 1 of an image that takes up i to i + N - 1, and the text after it is as
    far from the image's end as ever. Under M-RoPE N is what the ids take up, max(H, W) and not the
    number of tokens, and all three rows are equal.
    """

    name: ClassVar[str] = "bapa_far"
    # An image cut in two does not know its last id yet.
    whole_images: ClassVar[bool] = True

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (R, B, T) with every image drawn together on the last id it takes up."""
        from wheresight.interventions.geometry import bounds

        inside = layout.image >= 0
        _, last = bounds(ids, layout.image, layout.most_images)
        return ids.where(~inside, last.gather(1, layout.image.clamp_min(0)))
