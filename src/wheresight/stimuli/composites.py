"""Recipes of composites: which pairs, where, on what canvas. Small, exact, and without pixels."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any

from PIL import ImageColor

from wheresight.errors import StimulusError
from wheresight.stimuli.layouts import layout as find_layout

MAX_SIDE = 8
CANVAS = 840
MAX_CANVAS = 8192

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the pixels of one composite, given a source.

    Attributes:
        key: pair id of the picture that is asked for.
        distractors: pair ids of the others, rows * columns - 1 of them, all different.
        cell: where the key stands, row-major from 0.
        rows, columns: the grid, from 1x2 to 8x8.
        layout: `swap`, `insert`, or the name of a plug-in's layout.
        canvas: width and height in pixels.
        tile: side of the square box that a picture is fitted into, in pixels.
        background: a colour name or #rrggbb.
        jitter: right and down shift of the whole grid, in pixels.
        seed: what the layout may draw from; the same for all cells of an item.

    Raises:
        StimulusError: on construction, if the parts do not fit together.
    """

    key: str
    distractors: tuple[str, ...]
    cell: int
    rows: int = 3
    columns: int = 3
    layout: str = "swap"
    canvas: tuple[int, int] = (CANVAS, CANVAS)
    tile: int = 270
    background: str = "white"
    jitter: tuple[int, int] = (0, 0)
    seed: int = 0

    def __post_init__(self) -> None:
        cells = self.rows * self.columns
        check_grid(self.rows, self.columns)
        if len(self.distractors) != cells - 1:
            raise StimulusError(
                f"The recipe of {self.key!r} has {len(self.distractors)} distractors. A "
                f"{self.rows}x{self.columns} grid needs {cells - 1}."
            )
        if len({self.key, *self.distractors}) != cells:
            raise StimulusError(
                f"The recipe of {self.key!r} names a pair twice. Each tile must be another pair."
            )
        if not 0 <= self.cell < cells:
            raise StimulusError(
                f"Cell {self.cell} is not in a {self.rows}x{self.columns} grid. Cells are "
                f"0 to {cells - 1}, row by row."
            )
        find_layout(self.layout)
        colour(self.background)
        _lattice(self.rows, self.columns, self.canvas, self.tile, self.jitter)

    def tiles(self) -> tuple[str, ...]:
        """Return the pair id that stands in each cell, row-major."""
        return find_layout(self.layout)(self.key, self.distractors, self.cell, self.seed)

    def with_key(self, key: str) -> Recipe:
        """Return the same composite with another picture in the key's place, such as a sibling."""
        return replace(self, key=key)

    def to_json(self) -> str:
        """Return the canonical JSON of this recipe: keys sorted, no spaces, same text always."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote.

        Raises:
            StimulusError: if the text is not JSON, or not exactly the fields of a recipe.
        """
        try:
            given = json.loads(text)
        except ValueError as error:
            raise StimulusError(
                f"The recipe is not JSON ({error}). Expected the text that Recipe.to_json wrote."
            ) from None
        wanted = {field.name for field in fields(cls)}
        if not isinstance(given, dict) or set(given) != wanted:
            found = sorted(given) if isinstance(given, dict) else type(given).__name__
            raise StimulusError(
                f"The recipe has the fields {found}. Expected exactly {sorted(wanted)}: it was "
                "written by another version, or by hand."
            )
        _check_types(given)
        for name in ("distractors", "canvas", "jitter"):
            given[name] = tuple(given[name])
        return cls(**given)


def parse_grid(text: str) -> tuple[int, int]:
    """Read a grid such as `3x3` (rows x columns).

    Raises:
        StimulusError: if it is not of this form, or not from 1x2 to 8x8.
    """
    match = re.fullmatch(r"\s*(\d{1,3})\s*[xX]\s*(\d{1,3})\s*", text)
    if match is None:
        raise StimulusError(
            f"Unknown grid {text!r}. Expected rows x columns, such as 3x3, from 1x2 to "
            f"{MAX_SIDE}x{MAX_SIDE}."
        )
    rows, columns = int(match[1]), int(match[2])
    check_grid(rows, columns)
    return rows, columns


def check_grid(rows: int, columns: int) -> None:
    """Raise StimulusError if a grid is not from 1x2 (or 2x1) to 8x8."""
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE and rows * columns >= 2):
        raise StimulusError(
            f"Unknown grid {rows}x{columns}. Expected rows x columns from 1x2 to "
            f"{MAX_SIDE}x{MAX_SIDE}."
        )


@functools.lru_cache(maxsize=64)
def colour(name: str) -> tuple[int, int, int]:
    """Return the RGB value of a colour name or hex colour.

    Raises:
        StimulusError: if the colour is unknown.
    """
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise StimulusError(
            f"Unknown background {name!r}. Expected a colour name such as white, or #rrggbb."
        ) from None
    return red, green, blue


def fitting_tile(rows: int, columns: int, canvas: tuple[int, int]) -> int:
    """Return the side of the largest square tile that leaves gaps of 1/112 of the canvas, in px.

    1/112 is 7.5 of 840 pixels, as in the pictures released with arXiv 2509.21984; so a 3x3 grid on
    840 pixels has tiles of 270.
    """
    check_grid(rows, columns)
    across = (canvas[0] * 112 - canvas[0] * (columns + 1)) // (112 * columns)
    down = (canvas[1] * 112 - canvas[1] * (rows + 1)) // (112 * rows)
    return max(1, min(across, down))


def jitter_room(rows: int, columns: int, canvas: tuple[int, int], tile: int) -> tuple[int, int]:
    """Return how far the whole grid can be moved left or right, and up or down, in pixels."""
    boxes = _lattice(rows, columns, canvas, tile, (0, 0))
    left, top = boxes[0][:2]
    right, bottom = boxes[-1][2:]
    return min(left, canvas[0] - right), min(top, canvas[1] - bottom)


def boxes(recipe: Recipe) -> list[Box]:
    """Return the box of every cell as (left, top, right, bottom) in pixels, row-major.

    All tiles have the same square box. The gaps around and between boxes are equal along each
    axis: gap = (canvas - n * tile) / (n + 1), and the box of index i begins at
    round(gap + i * (tile + gap)), halves rounded to even. For 840 pixels and three tiles of 270
    the gap is 7.5 and the boxes begin at 8, 285 and 562, as measured in the pictures released
    with arXiv 2509.21984; for 96 pixels and tiles of 32 they begin at 0, 32 and 64.
    """
    return list(_lattice(recipe.rows, recipe.columns, recipe.canvas, recipe.tile, recipe.jitter))


@functools.lru_cache(maxsize=1024)
def _lattice(
    rows: int, columns: int, canvas: tuple[int, int], tile: int, jitter: tuple[int, int]
) -> tuple[Box, ...]:
    width, height = canvas
    if not (1 <= width <= MAX_CANVAS and 1 <= height <= MAX_CANVAS):
        raise StimulusError(
            f"The canvas is {width} x {height} pixels. Expected sides from 1 to {MAX_CANVAS}."
        )
    if tile < 1 or tile * columns > width or tile * rows > height:
        raise StimulusError(
            f"A {rows}x{columns} grid of {tile} px tiles does not fit a canvas of {width} x "
            f"{height} px. Expected tiles of at most {min(width // columns, height // rows)} px."
        )
    lefts = _origins(columns, width, tile)
    tops = _origins(rows, height, tile)
    right, down = jitter
    found = tuple(
        (left + right, top + down, left + right + tile, top + down + tile)
        for top in tops
        for left in lefts
    )
    if min(found[0][:2]) < 0 or found[-1][2] > width or found[-1][3] > height:
        raise StimulusError(
            f"The jitter {jitter} moves the grid off its canvas of {width} x {height} px. There "
            f"are {lefts[0]} px beside and {tops[0]} px above it: make the tiles smaller."
        )
    return found


def _origins(count: int, side: int, tile: int) -> list[int]:
    gap = Fraction(side - count * tile, count + 1)  # exact, so that halves are halves
    return [round(gap + index * (tile + gap)) for index in range(count)]


def _check_types(given: dict[str, Any]) -> None:
    def is_int(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    right = all(isinstance(given[name], str) for name in ("key", "layout", "background"))
    right = right and all(is_int(given[name]) for name in ("cell", "rows", "columns", "tile"))
    right = right and is_int(given["seed"]) and given["seed"] >= 0
    for name in ("canvas", "jitter"):
        value = given[name]
        right = right and isinstance(value, list) and len(value) == 2 and all(map(is_int, value))
    names = given["distractors"]
    right = right and isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not right:
        raise StimulusError(
            "The recipe has a field of the wrong type. Expected the text that Recipe.to_json wrote."
        )
