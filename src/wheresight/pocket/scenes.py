"""Training scenes: one to a few objects, centre-heavy, on backgrounds of many kinds.

Scenes are meant to be natural rather than balanced: an object's centre is drawn from a normal
distribution around the middle of the picture, sizes vary, and regular grids are rare
(``Recipe.grid_share``). No preference for a place is planted beyond that, and none is removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wheresight.pocket.emoji import SIDES, Things

ABSENT = -1
IGNORE = -2
CELLS = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """One object in a scene: its thing, its picture, and its square in px."""

    thing: int
    picture: int
    left: int
    top: int
    side: int

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in px."""
        return self.left + self.side / 2, self.top + self.side / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, (S, S, 3) uint8, with what is in it and the thing under every patch.

    ``patches`` is (S / p, S / p) int: a thing's index, ``ABSENT`` for background, or ``IGNORE``
    where a patch is neither clearly covered nor clearly free.
    """

    pixels: np.ndarray
    placed: tuple[Placed, ...]
    patches: np.ndarray


def compose(pixels: np.ndarray, placed: list[Placed], things: Things, patch: int) -> Scene:
    """Lay the objects on a background, (S, S, 3) uint8; objects that stick out are cut."""
    size = pixels.shape[0]
    picture = pixels.astype(np.float32)
    grid = size // patch
    patches = np.full((grid, grid), ABSENT, dtype=np.int64)
    best = np.zeros((grid, grid), dtype=np.float32)
    for item in placed:
        tile = things.tiles[item.side][item.picture]
        x0, y0 = max(0, item.left), max(0, item.top)
        x1, y1 = min(size, item.left + item.side), min(size, item.top + item.side)
        cut = tile[y0 - item.top : y1 - item.top, x0 - item.left : x1 - item.left]
        alpha = cut[..., 3:].astype(np.float32) / 255
        window = picture[y0:y1, x0:x1]
        window += alpha * (cut[..., :3] - window)
        box = np.zeros((size, size), dtype=np.float32)
        ink = np.zeros((size, size), dtype=np.float32)
        box[y0:y1, x0:x1] = 1
        ink[y0:y1, x0:x1] = alpha[..., 0]
        covered = box.reshape(grid, patch, grid, patch).mean((1, 3))
        inked = ink.reshape(grid, patch, grid, patch).mean((1, 3))
        clear = (covered >= 0.5) & (inked >= 0.15) & (covered > best)
        touched = (covered > 0.06) & ~clear & (patches == ABSENT)
        patches[clear] = item.thing
        patches[touched] = IGNORE
        best = np.maximum(best, covered)
    return Scene(picture.clip(0, 255).astype(np.uint8), tuple(placed), patches)


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """(S, S, 3) uint8: white, plain, a gradient, or soft noise."""
    kind = rng.random()
    weight: np.ndarray
    if kind < 0.4:
        return np.full((size, size, 3), 255, dtype=np.uint8)
    low = 120 if rng.random() < 0.85 else 0
    first = rng.integers(low, 256, 3).astype(np.float32)
    if kind < 0.65:
        return np.broadcast_to(first, (size, size, 3)).astype(np.uint8)
    second: np.ndarray = rng.integers(low, 256, 3).astype(np.float32)
    if kind < 0.85:
        ramp = np.linspace(0, 1, size, dtype=np.float32)
        across = ramp[:, None] if rng.random() < 0.5 else ramp[None, :]
        weight = np.broadcast_to(across, (size, size))[..., None]
    else:
        coarse = rng.random((6, 6)).astype(np.float32)
        tiled = np.repeat(np.repeat(coarse, -(-size // 6), 0), -(-size // 6), 1)
        weight = tiled[:size, :size, None]
        second = (first + second) / 2
    return (first + weight * (second - first)).clip(0, 255).astype(np.uint8)


def sample_scene(
    rng: np.random.Generator,
    things: Things,
    most: int = 4,
    size: int = 96,
    patch: int = 16,
    grid_share: float = 0.08,
    centre_spread: float = 0.24,
) -> Scene:
    """A random scene with 1 to ``most`` objects, or (rarely) a grid of 2 to 9."""
    canvas = background(rng, size)
    if rng.random() < grid_share:
        placed = _grid(rng, things, size)
    else:
        placed = _scattered(rng, things, size, int(rng.integers(1, most + 1)), centre_spread)
    scene = compose(canvas, placed, things, patch)
    if rng.random() < 0.3:  # light and contrast
        gain, shift = rng.uniform(0.85, 1.1), rng.uniform(-12, 12)
        pixels = (scene.pixels.astype(np.float32) * gain + shift).clip(0, 255).astype(np.uint8)
        return Scene(pixels, scene.placed, scene.patches)
    return scene


def _pick(rng: np.random.Generator, things: Things, count: int) -> list[tuple[int, int]]:
    """``count`` different things, each with one of its pictures."""
    chosen = rng.choice(len(things.things), count, replace=False)
    if count > 1 and rng.random() < 0.15:  # now and then two look-alikes together
        alike = things.things[chosen[0]].siblings
        other = int(rng.choice(alike)) if alike else chosen[1]
        if other not in chosen:
            chosen[1] = other
    return [(int(thing), int(rng.choice(things.things[int(thing)].pictures))) for thing in chosen]


def _scattered(
    rng: np.random.Generator, things: Things, size: int, count: int, spread: float
) -> list[Placed]:
    largest = {1: 76, 2: 54, 3: 44, 4: 40}.get(count, 34)
    sides = [side for side in SIDES if 24 <= side <= largest] if count < 5 else [21, 24, 27, 30]
    placed: list[Placed] = []
    for thing, picture in _pick(rng, things, count):
        for _ in range(40):
            side = int(rng.choice(sides))
            centre = rng.normal(size / 2, spread * size, 2)
            left, top = (int(v) for v in np.round(centre - side / 2))
            inside = -3 <= left <= size - side + 3 and -3 <= top <= size - side + 3
            if inside and not any(_overlap(left, top, side, p) for p in placed):
                placed.append(Placed(thing, picture, left, top, side))
                break
    return placed if placed else _scattered(rng, things, size, count, spread)


def _overlap(left: int, top: int, side: int, other: Placed) -> bool:
    """Whether two squares overlap by more than a sliver (3 px)."""
    return (
        min(left + side, other.left + other.side) - max(left, other.left) > 3
        and min(top + side, other.top + other.side) - max(top, other.top) > 3
    )


def _grid(rng: np.random.Generator, things: Things, size: int) -> list[Placed]:
    rows, columns = (int(v) for v in rng.integers(1, 4, 2))
    if rows * columns == 1:
        rows = columns = 3
    pitch = size // max(rows, columns)
    side = max(s for s in SIDES if s <= pitch - int(rng.integers(0, 4)))
    x0 = (size - pitch * columns) // 2
    y0 = (size - pitch * rows) // 2
    places = [(r, c) for r in range(rows) for c in range(columns)]
    inset = (pitch - side) // 2
    return [
        Placed(thing, picture, x0 + c * pitch + inset, y0 + r * pitch + inset, side)
        for (r, c), (thing, picture) in zip(places, _pick(rng, things, len(places)), strict=True)
    ]


def cell_of(item: Placed, size: int, margin: float = 3.0) -> int | None:
    """The cell (0 to 8) that holds the object's centre; None within ``margin`` px of a border."""
    third = size / 3
    indices = []
    for value in item.centre:
        index = min(2, max(0, int(value // third)))
        borders = [b for b in (third, 2 * third) if abs(value - b) < margin]
        if borders:
            return None
        indices.append(index)
    return indices[1] * 3 + indices[0]
