"""What the installer tells a method beside its tensors.

Legend: B batch, Q query rows, S key columns, A heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Embedder(Protocol):
    """What text embeddings of a model look like as they enter its layers, and what was trained."""

    @property
    def mean_norm(self) -> float:
        """Mean L2 norm of the text embeddings, over the vocabulary."""
        ...

    def learned(self, method: str) -> Mapping[str, torch.Tensor]:
        """What was trained with the projector for the method of this name, by name."""
        ...


@dataclass(frozen=True, eq=False)
class AttentionRows:
    """What the query rows and key columns of one attention call are.

    Attributes:
        layer: number of the layer, from 0.
        visible: (B, 1, Q, S) bool, keys that the mask lets a query see.
        image: (B, 1, 1, S) bool, keys that are image tokens.
        decided: (B,), what `decide` returned, or None.
        calibration: (B, A, 1, S) float32, mean attention weight of each image key over the text
            queries of a blank image, 0 elsewhere; or None.
    """

    layer: int
    visible: torch.Tensor
    image: torch.Tensor
    decided: torch.Tensor | None = None
    calibration: torch.Tensor | None = None

    @property
    def image_seen(self) -> torch.Tensor:
        """(B, 1, Q, S) bool: image keys that a query may see."""
        return self.visible & self.image
