"""The things that the model knows: emoji pictures from the Parquet file, and drawn shapes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from wheresight.pocket import emoji_file

COLOURS = {
    "red": (214, 40, 40),
    "orange": (245, 130, 20),
    "yellow": (250, 210, 30),
    "green": (40, 160, 60),
    "blue": (40, 90, 210),
    "purple": (130, 60, 180),
    "brown": (120, 75, 40),
    "black": (20, 20, 20),
}
SHAPES = ("circle", "square", "triangle", "diamond")
# Sides in px at which every picture is kept ready; scenes pick one of these.
SIDES = (18, 21, 24, 27, 29, 30, 31, 32, 34, 37, 40, 44, 48, 54, 60, 68, 76)


@dataclass(frozen=True, slots=True)
class Thing:
    """One nameable thing with all its pictures.

    Attributes:
        name: what it is called.
        pictures: indices into ``Things.tiles[side]``, one for each style.
        siblings: indices of its look-alikes in ``Things.things``.
        kind: ``"emoji"`` or ``"shape"``.
    """

    name: str
    pictures: tuple[int, ...]
    siblings: tuple[int, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Things:
    """All things, and their pictures at every side: ``tiles[side]`` is (P, side, side, 4) uint8."""

    things: tuple[Thing, ...]
    tiles: dict[int, np.ndarray]

    @property
    def names(self) -> list[str]:
        """Names in index order."""
        return [thing.name for thing in self.things]

    @property
    def emoji(self) -> list[int]:
        """Indices of the emoji, without the shapes."""
        return [i for i, thing in enumerate(self.things) if thing.kind == "emoji"]


def read_rows(path: Path | None = None) -> list[dict[str, Any]]:
    """Rows of the Parquet file as dictionaries."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path or emoji_file()).to_pylist()
    return rows


def decode(row: dict[str, Any]) -> Image.Image:
    """The row's picture, RGBA, 64 px."""
    return Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGBA")


def shape_names() -> list[str]:
    """``"red circle"`` and so on, colour by colour."""
    return [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


def draw_shape(name: str) -> Image.Image:
    """A coloured shape, RGBA, 64 px, antialiased by drawing at four times the size."""
    colour, shape = name.split()
    side = 256
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    fill = (*COLOURS[colour], 255)
    low, high, middle = 16, side - 16, side // 2
    if shape == "circle":
        pen.ellipse((low, low, high, high), fill=fill)
    elif shape == "square":
        pen.rectangle((low + 12, low + 12, high - 12, high - 12), fill=fill)
    elif shape == "triangle":
        pen.polygon([(middle, low), (high, high - 8), (low, high - 8)], fill=fill)
    else:
        pen.polygon([(middle, low), (high, middle), (middle, high), (low, middle)], fill=fill)
    return picture.resize((64, 64), Image.Resampling.LANCZOS)


def load_things(path: Path | None = None) -> Things:
    """Read the emoji, draw the shapes, and resize every picture to every side (some seconds)."""
    rows = read_rows(path)
    groups: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    pictures = [decode(row) for row in rows]
    for index, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(index)
        names[row["group"]] = row["caption"]
    order = list(groups)
    place = {group: i for i, group in enumerate(order)}
    things = []
    for group in order:
        siblings = rows[groups[group][0]]["siblings"]
        near = tuple(place[identifier.split("/")[1]] for identifier in siblings)
        things.append(Thing(names[group], tuple(groups[group]), near, "emoji"))
    shapes = shape_names()
    first = len(things)
    for index, name in enumerate(shapes):
        alike = [
            first + other
            for other, text in enumerate(shapes)
            if other != index and set(text.split()) & set(name.split())
        ]
        things.append(Thing(name, (len(pictures) + index,), tuple(alike), "shape"))
    pictures += [draw_shape(name) for name in shapes]
    return Things(tuple(things), {side: _resized(pictures, side) for side in SIDES})


def _resized(pictures: list[Image.Image], side: int) -> np.ndarray:
    """(P, side, side, 4) uint8."""
    small = [p.resize((side, side), Image.Resampling.LANCZOS) for p in pictures]
    return np.stack([np.asarray(p, dtype=np.uint8) for p in small])
