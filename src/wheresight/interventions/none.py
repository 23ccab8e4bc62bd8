"""No intervention: the stock model, under a name that records and tables can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wheresight.interventions.base import Intervention


@dataclass(frozen=True)
class Nothing(Intervention):
    """Leaves every seam alone; the model's outputs are those of stock transformers, bit for bit."""

    name: ClassVar[str] = "none"
