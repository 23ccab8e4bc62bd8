"""Where the image tokens of a prompt are in its picture, and how much of each lies in a box.

A token of an H x W grid stands for one of H x W equal parts of the picture. A tower sees further
than that, and pictures that are padded or cropped on their way to it would be off: composites are
square, and are neither in the models we know.

Legend: L layers, A heads, H x W grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.errors import ModelError
from wheresight.stimuli.composites import boxes

if TYPE_CHECKING:
    from wheresight.probes.asking import Asked


def attention_map(asked: Asked) -> np.ndarray:
    """(L, A, H, W): attention on the main grid of a prompt's one picture.

    Raises:
        ModelError: if the model cuts a picture into several, or its tokens have no known places.
    """
    images = len(asked.kept.layout.images[0])
    if images != 1:
        raise ModelError(
            f"This model makes {images} images of one picture, so attention on it is not one map. "
            "Use a model that keeps a picture whole."
        )
    found: np.ndarray = asked.kept.grid(0).double().numpy()
    return found


def inside(asked: Asked, grid: tuple[int, int], *, centres: bool = False) -> np.ndarray:
    """The share of each token's part of the picture that lies in the key's box, (H, W).

    Args:
        asked: of which composite.
        grid: H and W.
        centres: count a token wholly if its centre lies in the box, else not at all.
    """
    recipe: Any = asked.composite.recipe
    left, top, right, bottom = boxes(recipe)[asked.composite.cell]
    width, height = recipe.canvas
    down = _shares(grid[0], height, top, bottom, centres)
    across = _shares(grid[1], width, left, right, centres)
    return down[:, None] * across[None]


def _shares(parts: int, side: int, low: int, high: int, centres: bool) -> np.ndarray:
    edges = np.linspace(0, side, parts + 1)
    if centres:
        middle = (edges[1:] + edges[:-1]) / 2
        return ((middle >= low) & (middle <= high)).astype(np.float64)
    covered = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(covered, 0, None) / np.diff(edges)
