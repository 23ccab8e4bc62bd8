"""What a model is shown: sources of image-caption pairs, items, composites, and their pixels.

source = open_source("pocket")
renderer = Renderer(source)
for item in plan_items(source.pairs(), 100, 3, 3):
    for recipe in recipes(item, 3, 3):
        picture = renderer.render(recipe)
"""

from __future__ import annotations

from wheresight.stimuli.composites import Recipe, boxes, check_grid, fitting_tile, parse_grid
from wheresight.stimuli.items import Item, plan_items, recipes
from wheresight.stimuli.pairs import Pair, Source
from wheresight.stimuli.render import Renderer
from wheresight.stimuli.sources import open_source

__all__ = [
    "Item",
    "Pair",
    "Recipe",
    "Renderer",
    "Source",
    "boxes",
    "check_grid",
    "fitting_tile",
    "open_source",
    "parse_grid",
    "plan_items",
    "recipes",
]
