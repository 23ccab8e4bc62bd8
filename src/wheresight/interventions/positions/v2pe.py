"""Variable visual position encoding: image tokens share a short span of fractional ids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import SpecError
from wheresight.interventions.layers import Layered
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout

# Ids are turned into angles in float32, which tells ids an eighth apart up to here.
LONGEST = 2.0**20


@dataclass(frozen=True)
class V2PE(Layered):
    """The N tokens of an image that begins at id i get i - 1 + (t + 1) s / N, t = 0 to N - 1.

    Ge et al. 2024, arXiv 2412.09616: image tokens count on in steps of delta = s / N from the text
    token before them, and text goes on at the whole number above, i + ceil(s). The paper draws s
    from 1, 2, 4, ... to the 256 tokens of a tile. As a control for BaPA this is proximity without
    equality: with span=1 the image takes up one id as under BaPA, but its tokens keep their order.

    All tokens of an image share its span, thumbnail and newlines too; the paper gives each tile
    one. Under M-RoPE all three rows get the same id, as under BaPA, so that the two differ in
    equality alone. Ids are float32, in which the rotary module computes anyway; steps of 1/1024 are
    told apart up to id 16384.

    Parameters:
        span: s, how many ids an image takes up. The default is the smallest of the paper.
    """

    name: ClassVar[str] = "v2pe"
    # The ids of an image hang on how many tokens it has.
    whole_images: ClassVar[bool] = True
    paper: ClassVar[str] = "Ge et al. 2024, arXiv 2412.09616"

    span: float = 1.0

    def __post_init__(self) -> None:
        number_in(self.name, "span", self.span, 0, LONGEST)
        if self.span == 0:
            raise SpecError(
                "The parameter span of 'v2pe' cannot be 0: expected a number above 0. All tokens "
                "on one id are bapa."
            )

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return float ids (R, B, T); the rows of an image token are equal."""
        import torch

        from wheresight.interventions.geometry import arrange, per_image

        image = layout.image.clamp_min(0)
        start = per_image(layout, lambda span: span.start)
        # Hidden tokens take no step: N is how many tokens the image shows.
        count = per_image(layout, lambda span: max(span.tokens.count - span.tokens.hidden, 1))
        column = torch.arange(layout.length, device=image.device)
        number = torch.minimum(column - start.gather(1, image) + 1, count.gather(1, image))
        real = torch.promote_types(ids.dtype, torch.float32)
        offset = number.to(real) * self.span / count.gather(1, image) - 1
        takes = torch.full_like(count, math.ceil(self.span))
        return arrange(ids.to(real), layout.image, layout.most_images, offset[None], takes)
