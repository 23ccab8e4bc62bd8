"""AdaptVis: image logits scaled by how sure the model is of its first token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from wheresight.errors import SpecError
from wheresight.interventions.attention.chosen import Chosen
from wheresight.interventions.attention.scalingvis import ScalingVis
from wheresight.interventions.by_confidence import ByConfidence
from wheresight.interventions.published import PublishedGrid
from wheresight.interventions.ranges import number_in, whole_number

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import AttentionRows

NONE = "none"


def decimals(given: Any) -> int | str:
    """`none`, or a whole number of decimals from 0 to 6"""
    return NONE if given is None or str(given).lower() == NONE else int(str(given))


@dataclass(frozen=True)
class AdaptVis(Chosen):
    """Image logits of the last prompt row times `low` where the model is unsure, else `high`.

    Chen et al. 2025 (ICML), arXiv 2503.01773. The confidence is the largest probability that the
    unchanged model gives to any first token, over the whole vocabulary; below the threshold (not
    at it) the model is unsure. Defaults are the paper's first ones, for WhatsUp Controlled_A.

    The released code generates a whole answer for the confidence and throws it away; here the
    last row alone is run again, which is exact, for no other row is changed. For VSR it compares
    the largest raw logit, not a probability, with the threshold, so that nearly every answer
    counts as sure; here it is a probability everywhere. It rounds the confidence to two decimals:
    give `rounding=2` for that.

    Parameters:
        low: the factor where the model is unsure, from 0 to 1000.
        high: the factor where it is sure, from 0 to 1000.
        threshold: of the confidence, from 0 to 1; at 0 the model is always sure.
        rounding: decimals that the confidence is rounded to first, or `none`.
        rows: `last`; nothing else can be decided by the first answer token.
        layers, heads: see `Chosen`.

    Raises:
        SpecError: a parameter is out of range, or `rows` is not `last`.
    """

    name: ClassVar[str] = "adaptvis"
    paper: ClassVar[str] = "Chen et al. 2025, arXiv 2503.01773"
    twice: ClassVar[bool] = True
    neutral: ClassVar[Mapping[str, float]] = {"low": 1.0, "high": 1.0}
    # No grid of thresholds is printed; these are the thresholds of all settings that are.
    published_grid: ClassVar[PublishedGrid | None] = PublishedGrid(
        {
            "low": (0.5, 0.8),
            "high": (1.2, 1.5, 2.0),
            "threshold": (0.2, 0.3, 0.35, 0.4, 0.64),
        },
        "README of the code released with arXiv 2503.01773, weight1 and weight2 of AdaptVis, and "
        "the thresholds in its run.sh",
    )

    low: float = 0.5
    high: float = 1.5
    threshold: float = 0.4
    rounding: int | str = field(default=NONE, metadata={"read": decimals})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows != "last":
            raise SpecError(
                f"'adaptvis' runs the last prompt row again and no other; rows={self.rows} was "
                "given. Leave rows out, or use scalingvis."
            )
        number_in(self.name, "low", self.low, 0, 1000)
        number_in(self.name, "high", self.high, 0, 1000)
        number_in(self.name, "threshold", self.threshold, 0, 1)
        if self.rounding != NONE:
            whole_number(self.name, "rounding", self.rounding, 0, 6)

    def idle(self) -> bool:
        """True if both factors are 1."""
        return self.low == 1 and self.high == 1

    def by_confidence(self) -> ByConfidence:
        """`scalingvis` by the one factor or by the other, in the same layers and heads."""
        low, high = (
            ScalingVis(alpha, rows=self.rows, layers=self.layers, heads=self.heads)
            for alpha in (self.low, self.high)
        )
        decimals = self.rounding if isinstance(self.rounding, int) else None
        return ByConfidence(low, high, self.threshold, decimals)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the factor of each row, (B,) float32, from the first logits (B, V)."""
        confidence = logits.float().softmax(-1).amax(-1)
        if isinstance(self.rounding, int):
            confidence = confidence.round(decimals=self.rounding)
        low = confidence.new_full(confidence.shape, self.low)
        return low.where(confidence < self.threshold, confidence.new_tensor(self.high))

    def logits(self, logits: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the logits (B, A, Q, S), those of visible image keys times their row's factor.

        Before it is decided they stay as they are: the first run is the unchanged model.
        """
        if rows.decided is None:
            return logits
        factor = rows.decided.to(logits)[:, None, None, None]
        return (logits * factor).where(rows.image_seen, logits)
