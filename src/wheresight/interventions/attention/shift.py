"""The image's share of attention, at an unchanged shape inside the image."""

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
class Shift(Chosen):
    """A constant is added to the logits of image keys.

    The log-odds of the image's share of a row's attention move by exactly that constant. How
    attention is spread inside the image, and inside the text, stays. The half of `scalingvis` that
    its name does not say; the other half is `temperature`.

    Parameters:
        amount: in nats, from -1000 to 1000; 0 changes nothing.
        rows, layers, heads: see `Chosen`.

    Raises:
        SpecError: amount is out of range.
    """

    name: ClassVar[str] = "shift"
    example: ClassVar[str] = "amount=1"
    neutral: ClassVar[Mapping[str, float]] = {"amount": 0.0}

    amount: float

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self.name, "amount", self.amount, -1000, 1000)

    def idle(self) -> bool:
        """True at 0."""
        return self.amount == 0

    def logits(self, logits: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the logits (B, A, Q, S), those of visible image keys raised by the amount."""
        return (logits + self.amount).where(rows.image_seen, logits)
