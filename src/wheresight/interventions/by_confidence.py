"""A method that does one thing where the model is unsure of its first token, and another elsewhere.

What such a method answers follows from three passes: of the model as it is without it, and under
either of the two. So a grid of its settings costs no more passes than there are different things to
do.

Legend: Q questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from wheresight.interventions.base import Intervention

# How far apart two ways of computing one confidence may be, relative to it: float32 against
# float64, over the largest vocabularies.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class ByConfidence:
    """The two things to do, and where.

    Attributes:
        unsure: acts where the confidence is below the threshold.
        sure: acts where it is not.
        threshold: of the largest probability of any first token.
        decimals: that the confidence is rounded to first; None leaves it as it is.
    """

    unsure: Intervention
    sure: Intervention
    threshold: float
    decimals: int | None = None

    def is_unsure(self, confidence: np.ndarray) -> np.ndarray:
        """Where the model is unsure, (Q,) bool, by confidences (Q,); in float32, as models are."""
        import numpy as np

        found = np.asarray(confidence, np.float32)
        if self.decimals is not None:
            scale = np.float32(10**self.decimals)
            found = np.rint(found * scale) / scale
        below: np.ndarray = found < np.float32(self.threshold)
        return below

    def in_doubt(self, confidence: np.ndarray) -> bool:
        """Whether a confidence is so near the threshold that its last digits would decide."""
        import numpy as np

        found = np.asarray(confidence, np.float64)
        low, high = (self.is_unsure(found * (1 + sign * _ROUNDING)) for sign in (-1, 1))
        return bool((low != high).any())
