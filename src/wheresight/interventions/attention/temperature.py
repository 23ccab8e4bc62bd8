"""The shape of attention inside the image, at an unchanged share of attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.attention.chosen import Chosen
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import AttentionRows


@dataclass(frozen=True)
class Temperature(Chosen):
    """Sharpens or smooths attention inside the image; what the image gets in all stays.

    s'_j = alpha s_j + LSE(s_I) - LSE(alpha s_I) for the visible image keys I of a query row, with
    LSE the logarithm of the sum of exponentials. The half of `scalingvis` that its name says; the
    other half is `shift`.

    Parameters:
        alpha: from 0 to 1000; above 1 it sharpens, below 1 it smooths, 0 makes attention uniform
            over the image, 1 changes nothing.
        rows, layers, heads: see `Chosen`.

    Raises:
        SpecError: alpha is out of range.
    """

    name: ClassVar[str] = "temperature"
    example: ClassVar[str] = "alpha=0.8"
    neutral: ClassVar[Mapping[str, float]] = {"alpha": 1.0}

    alpha: float

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self.name, "alpha", self.alpha, 0, 1000)

    def idle(self) -> bool:
        """True at alpha = 1."""
        return self.alpha == 1

    def logits(self, logits: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the logits (B, A, Q, S); rows that see no image key are as they were."""
        seen = rows.image_seen
        # A row that sees no image is computed as if it saw all, and then left out: no row sums
        # over nothing, so that neither values nor gradients can be NaN.
        of = seen | ~seen.any(-1, keepdim=True)
        top = logits.masked_fill(~of, -float("inf")).amax(-1, keepdim=True)
        # Measured from the largest, a large alpha costs no digits.
        scaled = (logits - top) * self.alpha
        before = (logits - top).masked_fill(~of, -float("inf")).logsumexp(-1, keepdim=True)
        after = scaled.masked_fill(~of, -float("inf")).logsumexp(-1, keepdim=True)
        return (scaled - after + before + top).where(seen, logits)
