"""A method that is not part of wheresight: image tokens made shorter or longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import SpecError
from wheresight.interventions.base import Intervention

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import Layout


@dataclass(frozen=True)
class Dim(Intervention):
    """Image tokens times a factor, as they enter the language model.

    Parameters:
        factor: from 0 to 10; 1 changes nothing.
    """

    name: ClassVar[str] = "dim"

    factor: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.factor <= 10:
            raise SpecError(f"The factor of 'dim' cannot be {self.factor}: expected 0 to 10.")

    def idle(self) -> bool:
        """True at 1."""
        return self.factor == 1

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), those of image tokens times the factor."""
        image = (layout.image >= 0)[..., None]
        return (embeddings * self.factor).where(image, embeddings)
