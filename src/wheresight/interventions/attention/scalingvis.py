"""ScalingVis: the logits of image keys times a constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.attention.chosen import Chosen
from wheresight.interventions.published import PublishedGrid
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import AttentionRows


@dataclass(frozen=True)
class ScalingVis(Chosen):
    """The logits of image keys, s_j = q k_j / sqrt(d), become alpha s_j for every image key j.

    Chen et al. 2025 (ICML), arXiv 2503.01773, the scaling of the last prompt row before the
    softmax. Above 1 it is meant to sharpen the attention inside the image, below 1 to smooth it.
    It is not a pure temperature: scaling logits moves the image's share of attention too, because
    most image logits of the last row are negative. `temperature` changes the shape alone, `shift`
    the share alone.

    The released code is for 32 layers, one run of 576 image tokens and a batch of one. Here any
    layers may be chosen, and each row has its own images wherever they are. As there, decode steps
    are not scaled.

    Parameters:
        alpha: the factor, from 0 to 1000; 1 changes nothing.
        rows, layers, heads: see `Chosen`.

    Raises:
        SpecError: alpha is out of range.
    """

    name: ClassVar[str] = "scalingvis"
    example: ClassVar[str] = "alpha=0.8"
    paper: ClassVar[str] = "Chen et al. 2025, arXiv 2503.01773"
    neutral: ClassVar[Mapping[str, float]] = {"alpha": 1.0}
    published_grid: ClassVar[PublishedGrid | None] = PublishedGrid(
        {"alpha": (0, 0.5, 0.8, 1.2, 1.5, 2.0)},
        "README of the code released with arXiv 2503.01773, weight of ScalingVis",
    )

    alpha: float

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self.name, "alpha", self.alpha, 0, 1000)

    def idle(self) -> bool:
        """True at alpha = 1."""
        return self.alpha == 1

    def logits(self, logits: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the logits (B, A, Q, S), those of visible image keys times alpha."""
        return (logits * self.alpha).where(rows.image_seen, logits)
