"""AGCI: the mean of an image added to its tokens, the more the less they are like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class AGCI(Intervention):
    """Image tokens v become v + lambda (1 - cos(v, g)) g, with g the mean of the image's tokens.

    Zhu et al., arXiv 2509.21984 version 2, as its released code has it. The mean is over all
    tokens of the image, newline and thumbnail tokens too, and all of them are changed, as in that
    code. In four of its families g is the mean over all images of the batch, so that an answer
    depends on who else is in the batch; here g is of one image alone. The default of lambda is the
    only value in the code (0.5, written into one family); the paper's own is not known to us.

    Parameters:
        lambda: from 0 to 100; 0 changes nothing.

    Raises:
        SpecError: lambda is out of range.
    """

    name: ClassVar[str] = "agci"
    paper: ClassVar[str] = "Zhu et al., arXiv 2509.21984v2"
    whole_images: ClassVar[bool] = True

    lambda_: float = 0.5

    def __post_init__(self) -> None:
        number_in(self.name, "lambda", self.lambda_, 0, 100)

    def idle(self) -> bool:
        """True at lambda = 0."""
        return self.lambda_ == 0

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), each image's mean added; computed in float32."""
        import torch

        from wheresight.interventions.features.images import images_of, shown

        if self.idle():
            return embeddings
        out = embeddings.clone()
        for _, span, rows in images_of(layout):
            here = slice(span.start, span.stop)
            old = embeddings[rows, here]
            tokens = old.float()
            seen = shown(layout, span, rows)[..., None]
            count = seen.sum(1, keepdim=True).clamp_min(1)
            mean = (tokens * seen).sum(1, keepdim=True) / count
            alike = torch.cosine_similarity(tokens, mean, dim=-1)[..., None]
            new = tokens + self.lambda_ * (1 - alike) * mean
            out[rows, here] = new.to(old.dtype).where(seen, old)
        return out
