"""The image features of the key, wherever it stands, and how much they differ over cells.

Legend: N image tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from wheresight.probes.bench import Bench
    from wheresight.probes.grid import Composite


def key_features(bench: Bench, encoded: Any, composites: Sequence[Composite]) -> list[np.ndarray]:
    """Image features averaged over the key's box in each composite, (D,) each.

    Tokens of the main grid (of the thumbnail, where there is none) are weighted by the share of
    their area that lies in the box.
    """
    from wheresight.lvlm.variants import image_tokens
    from wheresight.stimuli.composites import boxes

    rows = [next(r for r in encoded.rows if r.picture == n) for n in range(len(composites))]
    layout = bench.lvlm.layout(bench.score.encoder.inputs(encoded, rows))
    found = []
    for n, (composite, features) in enumerate(zip(composites, image_tokens(encoded), strict=True)):
        tokens = layout.images[n][0].tokens
        weights = box_weights(
            tokens, composite.recipe.canvas, boxes(composite.recipe)[composite.cell]
        )
        weighted = weights.to(features.device, features.dtype) @ features
        found.append((weighted / weights.sum().to(features.dtype)).double().cpu().numpy())
    return found


def box_weights(
    tokens: Any, canvas: tuple[int, int], box: tuple[int, int, int, int]
) -> torch.Tensor:
    """The area of each image token that lies in a box of the picture, in tokens, (N,) float64.

    Raises:
        ModelError: if the grid of the image is not known.
    """
    import torch

    from wheresight.errors import ModelError
    from wheresight.lvlm.layout import Kind

    kind, row, column = tokens.table()
    if tokens.height * tokens.width == 0:
        raise ModelError(
            "The grid of this model's image tokens is not known, so the key's tokens cannot be "
            "found. Leave origin out."
        )
    across = _covered(column, tokens.width, canvas[0], box[0], box[2])
    down = _covered(row, tokens.height, canvas[1], box[1], box[3])
    return torch.where(kind == Kind.PATCH, across * down, torch.zeros_like(across))


def _covered(index: torch.Tensor, count: int, side: int, low: int, high: int) -> torch.Tensor:
    """How much of each of `count` equal pieces of a side lies between two pixels."""
    start = index.double() * side / count
    stop = start + side / count
    inside = stop.clamp_max(high) - start.clamp_min(low)
    return inside.clamp_min(0) * count / side


def distances(
    features: Mapping[tuple[str, int], np.ndarray],
) -> tuple[dict[tuple[str, int], float], dict[str, float]]:
    """Squared distances over cells from each item's mean, and of that from the mean of all."""
    items = sorted({item for item, _ in features})
    means = {
        item: np.mean([v for (i, _), v in features.items() if i == item], axis=0) for item in items
    }
    centre = np.mean(list(means.values()), axis=0)
    cells = {
        place: float(((vector - means[place[0]]) ** 2).sum()) for place, vector in features.items()
    }
    return cells, {item: float(((mean - centre) ** 2).sum()) for item, mean in means.items()}
