"""Uniform attention calibration: what a blank image gets is taken out of the attention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import ModelError
from wheresight.interventions.attention.chosen import Chosen
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import AttentionRows


@dataclass(frozen=True)
class UAC(Chosen):
    """Attention weights of image keys times W = ((1 - b) A0 + b mean(A0)) / A0, after the softmax.

    Zhu et al. 2025, arXiv 2502.01969: A'_img = W A_img, elementwise, at b = 1, with A0 the weights
    that text queries give to the image keys of a blank image, of the same layer and head. A place
    that gets more than its share of nothing is turned down by as much. The relaxed form with b is
    that of CAAC; CAAC's released code multiplies logits with a W made from weights, here weights
    are multiplied with it, as UAC defines. The layers that the paper chose are not known to us.

    The mean is taken over all image keys that a query sees, so several images share one mean. Keys
    without a usable A0 (0, or so small that its inverse overflows) keep their weight.

    Parameters:
        strength: b, from 0 to 1; 0 changes nothing.
        renormalize: each row keeps the sum it had; off, the rows are as printed, and no longer sum
            to 1.
        rows: see `Chosen`; all text rows unless told, in decode steps too.
        layers, heads: see `Chosen`.

    Raises:
        SpecError: strength is out of range.
    """

    name: ClassVar[str] = "uac"
    paper: ClassVar[str] = "Zhu et al. 2025, arXiv 2502.01969"
    needs_blank: ClassVar[bool] = True
    decoding: ClassVar[bool] = True

    strength: float = 1.0
    renormalize: bool = True
    rows: str = field(default="text", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self.name, "strength", self.strength, 0, 1)

    def idle(self) -> bool:
        """True at strength 0."""
        return self.strength == 0

    def weights(self, weights: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the weights (B, A, Q, S), those of visible image keys calibrated.

        Raises:
            ModelError: no blank image was seen before.
        """
        import torch

        if rows.calibration is None:
            raise ModelError(
                "'uac' was not calibrated: it needs the attention to a blank image before it can "
                "act. Enter it through intervene(), which runs that image first."
            )
        seen = rows.image_seen
        blank = rows.calibration.float()
        count = seen.sum(-1, keepdim=True).clamp_min(1)
        mean = (blank * seen).sum(-1, keepdim=True) / count
        usable = seen & (blank >= torch.finfo(blank.dtype).tiny)
        wanted = (1 - self.strength) * blank + self.strength * mean
        factor = wanted / blank.where(usable, 1)
        before = weights.float()
        after = (before * factor).where(usable, before)
        if self.renormalize:
            old, new = before.sum(-1, keepdim=True), after.sum(-1, keepdim=True)
            after = after * (old / new.where(new > 0, 1))
        return after.to(weights.dtype)
