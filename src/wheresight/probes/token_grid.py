"""Where the image tokens of a prompt are in its picture, and how much of each lies in boxes.

A token of an H x W grid stands for one of H x W equal parts of the picture. A tower sees further
than that, and pictures that are padded or cropped on their way to it would be off (`kept_whole`):
composites are square, and are neither in the models we know.

Legend: L layers, A heads, H x W grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.errors import ModelError
from wheresight.stimuli.composites import boxes

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM
    from wheresight.probes.asking import Asked, AskedOptions
    from wheresight.stimuli.benchmarks.question import Box


def attention_map(asked: Asked | AskedOptions) -> np.ndarray:
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
    """The share of each token's part of a composite that lies in the key's box, (H, W)."""
    recipe: Any = asked.composite.recipe
    return covered([boxes(recipe)[asked.composite.cell]], recipe.canvas, grid, centres=centres)


def covered(
    found: Sequence[Box], size: tuple[int, int], grid: tuple[int, int], *, centres: bool = False
) -> np.ndarray:
    """The share of each token's part of a picture that lies in any of some boxes, (H, W).

    Args:
        found: the boxes; where they overlap counts once.
        size: width and height of the picture, pixels.
        grid: H and W.
        centres: count a token wholly if its centre lies in a box, else not at all.
    """
    left, top, right, bottom = np.asarray(found, dtype=np.float64).reshape(-1, 4).T
    down, across = (np.linspace(0, s, n + 1) for s, n in zip(size[::-1], grid, strict=True))
    if centres:
        within = _hits((down[1:] + down[:-1]) / 2, top, bottom)[:, :, None]
        return (within & _hits((across[1:] + across[:-1]) / 2, left, right)[:, None]).any(0) * 1.0
    # Cut at all edges of boxes too: then each piece lies in a box or does not.
    rows, columns = _cuts(down, top, bottom), _cuts(across, left, right)
    middles = [(cuts[1:] + cuts[:-1]) / 2 for cuts in (rows, columns)]
    within = _hits(middles[0], top, bottom)[:, :, None] & _hits(middles[1], left, right)[:, None]
    areas = np.diff(rows)[:, None] * np.diff(columns) * within.any(0)
    areas = np.add.reduceat(areas, np.searchsorted(rows, down[:-1]), axis=0)
    areas = np.add.reduceat(areas, np.searchsorted(columns, across[:-1]), axis=1)
    return np.asarray(areas / (np.diff(down)[:, None] * np.diff(across)))


def _hits(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether each point lies between two ends, (boxes, points)."""
    return np.asarray((points >= low[:, None]) & (points <= high[:, None]))


def _cuts(edges: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Edges of tokens and boxes along one side of the picture, each once, in order."""
    return np.unique(np.concatenate([edges, np.clip([*low, *high], 0, edges[-1])]))


def kept_whole(lvlm: LVLM, size: tuple[int, int]) -> bool:
    """Whether a picture's whole area, and nothing else, is what the model's tokens are about."""
    processor = getattr(lvlm.processor, "image_processor", None)
    changes = ("do_center_crop", "do_pad")
    return size[0] == size[1] or not any(getattr(processor, name, None) for name in changes)
