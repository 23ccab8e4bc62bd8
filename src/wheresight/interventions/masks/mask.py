"""Who sees whom inside an image: causal, bidirectional, by rings, or by the ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import SpecError
from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout

KINDS = ("causal", "bidirectional", "ring", "ids")


@dataclass(frozen=True)
class ImageMask(Layered):
    """Replaces the mask inside of images; what image tokens and text else see stays as it was.

    Text never sees what comes after it, and no image sees another one that it did not see before.
    Hidden tokens are left to the installer: none becomes visible, and none sees more than before.

    The released code of `ring` (CCA) and `ids` (MCA, PyPE) takes 576 tokens for a 24 x 24 grid and
    changes the mask of the first row of a batch alone. Here each row has its own images, of any
    grid. A thumbnail, the main grid and each loose token are blocks of their own: the rules hold
    inside a block, and between blocks the mask stays as it was.

    Parameters:
        kind: `causal`, a token sees itself and the tokens of its image before it;
            `bidirectional`, all tokens of an image see each other (thumbnail, newline and loose
            tokens too);
            `ring`, a token sees the rings from the rim of its grid up to its own (CCA: Xing et al.
            2024, arXiv 2410.15926);
            `ids`, a token sees those whose rotary ids are not above its own in any rotary row
            (MCA and PyPE, with the ids of whatever changes positions beside it).
        layers: the decoder layers it acts in, from 0.
    """

    name: ClassVar[str] = "mask"
    example: ClassVar[str] = "bidirectional"

    kind: str = field(metadata={"bare": True})

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(
                f"The parameter kind of 'mask' cannot be {self.kind!r}: expected "
                f"{', '.join(KINDS[:-1])} or {KINDS[-1]}."
            )
        # A chunk of a prompt that ends in an image cannot show its tokens those of the next chunk.
        object.__setattr__(self, "whole_images", self.kind != "causal")

    def mask(
        self, allowed: torch.Tensor, layout: Layout, ids: torch.Tensor, layer: int
    ) -> torch.Tensor:
        """Return which keys each query may see, (B, Q, T) bool.

        Raises:
            ModelError: with `ring` and `ids`, if the grid of an image is not known.
        """
        import torch

        from wheresight.interventions.geometry import blocks_of
        from wheresight.interventions.masks.rules import by_order, inside_images

        layout = layout.to(allowed.device)
        if self.kind == "ring":
            return by_order(allowed, layout, blocks_of(layout).ring)
        if self.kind == "ids":
            # Outside of blocks each row of ids leaves the mask as it was, and so do all.
            return torch.stack([by_order(allowed, layout, row) for row in ids]).all(0)
        queries = allowed.shape[1]
        inside = inside_images(layout, queries)
        if self.kind == "bidirectional":
            return allowed | inside
        column = torch.arange(layout.length, device=allowed.device)
        before = column[None, :] <= column[layout.length - queries :, None]
        return allowed.where(~inside, before)
