"""Pictures of coloured shapes: recipes first, pixels on demand."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass, fields, replace

from PIL import Image, ImageDraw

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks.draws import Draws

# Far apart in hue or in lightness, each with a name that most people would give it.
COLOURS = {
    "red": (225, 20, 30),
    "orange": (255, 140, 0),
    "yellow": (255, 220, 0),
    "green": (0, 150, 50),
    "cyan": (0, 200, 230),
    "blue": (20, 60, 220),
    "purple": (130, 20, 180),
    "pink": (255, 90, 180),
    "brown": (120, 70, 30),
    "black": (15, 15, 15),
}
SHAPES = ("circle", "square", "triangle", "star", "pentagon", "cross", "diamond")
_STROKE = (150, 150, 150)
_FINER = 4  # shapes are drawn so many times larger, then averaged down


@dataclass(frozen=True, slots=True)
class Shape:
    """One coloured shape: its centre (x right, y down) and the side of its square box, pixels."""

    shape: str
    colour: str
    x: int
    y: int
    side: int

    @property
    def name(self) -> str:
        """Such as `red circle`."""
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels."""
        left, top = self.x - self.side // 2, self.y - self.side // 2
        return left, top, left + self.side, top + self.side

    def apart(self, other: Shape, gap: int) -> bool:
        """Whether so many pixels are free between the boxes, along one axis at least."""
        a, b = self.box, other.box
        across = max(a[0], b[0]) - min(a[2], b[2])
        down = max(a[1], b[1]) - min(a[3], b[3])
        return max(across, down) >= gap


@dataclass(frozen=True, slots=True)
class Scene:
    """All that decides the pixels of one picture.

    Attributes:
        shapes: in the order they are drawn; none covers another.
        canvas: width and height, pixels.
        strokes: grey lines that no question asks for: x, y of both ends, pixels.
        texture: seed of a soft light background; None is white.
    """

    shapes: tuple[Shape, ...]
    canvas: int
    strokes: tuple[tuple[int, int, int, int], ...] = ()
    texture: str | None = None

    def exchanged(self, one: int, other: int) -> Scene:
        """The same places and sizes, with two shapes' looks exchanged."""
        a, b = self.shapes[one], self.shapes[other]
        shapes = list(self.shapes)
        shapes[one] = replace(a, shape=b.shape, colour=b.colour)
        shapes[other] = replace(b, shape=a.shape, colour=a.colour)
        return replace(self, shapes=tuple(shapes))

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces, the same text always."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """Read what `to_json` wrote.

        Raises:
            StimulusError: if it is not that.
        """
        try:
            given = json.loads(text)
            if set(given) != {field.name for field in fields(cls)}:
                raise ValueError(f"its fields are {sorted(given)}")
            return cls(
                shapes=tuple(Shape(**shape) for shape in given["shapes"]),
                canvas=int(given["canvas"]),
                strokes=tuple((a, b, c, d) for a, b, c, d in given["strokes"]),
                texture=given["texture"],
            )
        except (ValueError, TypeError, KeyError) as error:
            raise StimulusError(
                f"The recipe of a scene cannot be read: {error}. Expected the text that "
                "Scene.to_json wrote."
            ) from None


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, `canvas` pixels square, the same on every call."""
    size = (scene.canvas, scene.canvas)
    if scene.texture is None:
        picture = Image.new("RGB", size, "white")
    else:
        picture = _texture(scene.texture, scene.canvas).copy()
    pen = ImageDraw.Draw(picture)
    for stroke in scene.strokes:
        pen.line(stroke, fill=_STROKE, width=max(2, scene.canvas // 110))
    for shape in scene.shapes:
        picture.paste(COLOURS[shape.colour], shape.box, _mask(shape.shape, shape.side))
    return picture


@functools.lru_cache(maxsize=8)
def _texture(seed: str, canvas: int) -> Image.Image:
    """Soft noise between light grey and white, one seeded value every 1/12 of the canvas."""
    draws = Draws(seed)
    coarse = Image.new("L", (12, 12))
    coarse.putdata([draws.between(200, 255) for _ in range(144)])
    return coarse.resize((canvas, canvas), Image.Resampling.BICUBIC).convert("RGB")


@functools.lru_cache(maxsize=512)
def _mask(shape: str, side: int) -> Image.Image:
    """Where a shape covers its box, 0 to 255, antialiased."""
    size = side * _FINER
    mask = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(mask)
    if shape == "circle":
        pen.ellipse((0, 0, size - 1, size - 1), fill=255)
    else:
        pen.polygon([(x * (size - 1), y * (size - 1)) for x, y in _corners(shape)], fill=255)
    return mask.reduce(_FINER)


def _corners(shape: str) -> list[tuple[float, float]]:
    """Corners in a box from 0 to 1, which they touch on all sides."""
    if shape == "square":
        return [(0, 0), (1, 0), (1, 1), (0, 1)]
    if shape == "diamond":
        return [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]
    if shape == "triangle":
        return [(0.5, 0), (1, 1), (0, 1)]
    if shape == "cross":
        low, high = 0.32, 0.68
        return [
            (low, 0), (high, 0), (high, low), (1, low), (1, high), (high, high),
            (high, 1), (low, 1), (low, high), (0, high), (0, low), (low, low),
        ]  # fmt: skip
    if shape == "pentagon":
        return _fitted([_on_circle(k / 5, 1.0) for k in range(5)])
    if shape == "star":
        inner = 0.382  # of a regular five-pointed star
        return _fitted([_on_circle(k / 10, inner if k % 2 else 1.0) for k in range(10)])
    raise StimulusError(f"Unknown shape {shape!r}. Known: {', '.join(SHAPES)}.")


def _on_circle(turn: float, radius: float) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return radius * math.sin(angle), -radius * math.cos(angle)


def _fitted(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    xs, ys = zip(*corners, strict=True)
    return [
        ((x - min(xs)) / (max(xs) - min(xs)), (y - min(ys)) / (max(ys) - min(ys)))
        for x, y in corners
    ]
