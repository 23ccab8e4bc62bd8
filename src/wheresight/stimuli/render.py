"""Render recipes: exact pixels on demand, never compressed with loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from wheresight.stimuli.composites import Recipe, boxes, colour
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.recent import Recent

if TYPE_CHECKING:
    import numpy as np

TILE_CACHE_BYTES = 256 * 2**20


class Renderer:
    """Render composites of one source, with resized tiles kept between calls.

    Not for use by several threads at once: give each its own.

    Args:
        source: where the pictures come from.
        cache_bytes: how many bytes of resized tiles to keep.
    """

    def __init__(self, source: Source, cache_bytes: int = TILE_CACHE_BYTES) -> None:
        self.source = source
        self._tiles = Recent(self._tile, lambda tile: 3 * tile.width * tile.height, cache_bytes)

    def render(self, recipe: Recipe) -> Image.Image:
        """Return the composite: mode RGB, `recipe.canvas` pixels, the same on every call.

        Each picture is resized once, from full size, with its aspect kept (Lanczos, antialiased)
        so that its longer side is `recipe.tile`, and laid on the centre of its box.

        Raises:
            StimulusError: if the source has no such pair, or its picture cannot be used.
        """
        canvas = Image.new("RGB", recipe.canvas, colour(recipe.background))
        for name, (left, top, _, _) in zip(recipe.tiles(), boxes(recipe), strict=True):
            tile = self._tiles[name, recipe.tile]
            right = (recipe.tile - tile.width) // 2
            down = (recipe.tile - tile.height) // 2
            canvas.paste(tile, (left + right, top + down))
        return canvas

    def prepare(self, recipes: Iterable[Recipe]) -> None:
        """Read and resize every picture of these recipes now, each once.

        So a bad picture is found before a model is loaded, not in the middle of a run.

        Raises:
            StimulusError: if a picture cannot be used.
        """
        self.check({(name, recipe.tile) for recipe in recipes for name in recipe.tiles()})

    def check(self, tiles: Iterable[tuple[str, int]]) -> None:
        """Read and resize every tile, given by pair id and side in pixels, each once.

        Raises:
            StimulusError: if a picture cannot be used.
        """
        for name_and_side in sorted(set(tiles)):
            self._tiles[name_and_side]

    def array(self, recipes: Iterable[Recipe]) -> np.ndarray:
        """Return composites of one canvas as uint8 [B, height, width, 3], for tensors."""
        import numpy as np

        return np.stack([np.asarray(self.render(recipe)) for recipe in recipes])

    def to_png(self, recipe: Recipe, path: str | Path) -> None:
        """Write the composite as PNG, without loss."""
        self.render(recipe).save(path, format="PNG")

    def _tile(self, name_and_side: tuple[str, int]) -> Image.Image:
        name, side = name_and_side
        picture = self.source.image(name)
        longer = max(picture.size)
        size = [max(1, round(length * side / longer)) for length in picture.size]
        return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def render(recipe: Recipe, source: Source) -> Image.Image:
    """Return one composite; for many of one source make a `Renderer`, which keeps its tiles."""
    return Renderer(source).render(recipe)
