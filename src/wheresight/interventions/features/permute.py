"""The content of an image's tokens in another order, at the same positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class Permute(Intervention):
    """Image tokens trade places by a fixed random permutation; positions and mask stay.

    The permutation test of "Beyond Semantics", arXiv 2503.17349. There all tokens of the one grid
    are permuted. Here, where an image has more: tokens of the main grid among themselves and those
    of the thumbnail among themselves. Newline tokens stay, for where they stand is syntax, not
    content, and so do loose tokens and tokens that another method has taken away. If the grid of
    an image is not known, all its tokens are permuted.

    The permutation follows from the seed, the image's number in its row and its number of tokens
    alone: not from the batch, the model or the machine.

    Parameters:
        seed: from 0.

    Raises:
        SpecError: seed is out of range.
    """

    name: ClassVar[str] = "permute"
    paper: ClassVar[str] = "Beyond Semantics 2025, arXiv 2503.17349"
    whole_images: ClassVar[bool] = True
    moves_tokens: ClassVar[bool] = True

    seed: int = 0

    def __post_init__(self) -> None:
        whole_number(self.name, "seed", self.seed, 0, (1 << 63) - 1)

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), the tokens of each image permuted."""
        from wheresight.interventions.features.images import draws, images_of
        from wheresight.lvlm.layout import Kind

        out = embeddings.clone()
        for number, span, rows in images_of(layout):
            here = slice(span.start, span.stop)
            kind = layout.kind[rows, here]
            drawn = draws(self.seed, number, span.tokens.count).to(kind.device)
            order = drawn[: kind.shape[1]].argsort(stable=True).expand_as(kind)
            moved = (kind == Kind.PATCH) | (kind == Kind.THUMBNAIL)
            if span.tokens.height * span.tokens.width == 0:
                moved = moved | (kind == Kind.LOOSE)
            # Tokens sorted by kind, once as they stand and once as they were drawn: the n-th of a
            # kind as it stands gets the content of the n-th of that kind as drawn.
            to = kind.argsort(dim=1, stable=True)
            of = order.gather(1, kind.gather(1, order).argsort(dim=1, stable=True))
            source = of.new_empty(of.shape).scatter(1, to, of)
            stay = of.new_tensor(range(kind.shape[1])).expand_as(source)
            source = source.where(moved, stay)
            out[rows, here] = embeddings[rows, here].take_along_dim(source[..., None], 1)
        return out
