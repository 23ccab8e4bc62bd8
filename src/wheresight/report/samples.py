"""Every sample of a probe as the page's browser reads it: answers, margins, small pictures.

A sample is one item under one question, in all cells under all interventions. Its composites are
not kept as pictures: they are put together in the page from the tiles, each of which is drawn once,
at the places that the recipes say. The records are untrusted, and may hold items that no result
counts.
"""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, features

from wheresight.errors import WheresightError
from wheresight.report.measures import place, shape
from wheresight.report.texts import one_line
from wheresight.report.thumbnails import Render
from wheresight.runs.results import Results
from wheresight.stimuli.composites import Box, Recipe, boxes, colour

MOST = 3_000  # samples in one page: a thousand items with their three questions
MOST_BYTES = 1_300_000  # of their answers and margins
A_PAGE = 750  # samples in one of the pages that hold the rest
MOST_PAGES = 12
MAPS = 600_000  # bytes of all maps over composites in one page
PICTURES = 900_000  # bytes of all tiles of the main page, as they stand in it
PICTURES_OF_A_PAGE = 3_000_000
_SIDE = 48  # longest side of a tile, pixels
_FAILURES = 3
_LETTERS = {"yes": "y", "no": "n"}  # anything else is "x", and what is missing "."
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/-_"


@dataclass(frozen=True)
class Maps:
    """Maps over the pictures of some composites, such as attention.

    Attributes:
        label: what they are, with the intervention.
        height, width: of each map.
        of: by item and kind of question, one map a cell, each height * width bytes from 0 (least)
            to 255; None where there is none.
    """

    label: str
    height: int
    width: int
    of: Mapping[tuple[str, str], Sequence[bytes | None]]


@dataclass(frozen=True)
class Block:
    """Samples of one page.

    Attributes:
        data: what the browser reads, ready for JSON.
        count: how many samples.
        bare: numbers of those without pictures.
        reason: why some have none; empty if all have.
    """

    data: dict[str, Any]
    count: int
    bare: tuple[int, ...]
    reason: str


class Samples:
    """All samples of a run, those that show most first.

    Those that flip come first, then those with most wrong answers; ties are broken by the item's
    id, so that the same records give the same order.

    Args:
        records: as `wheresight.runs.records` has them.
        results: made from the same records.
        render: draws a composite from the JSON of its recipe; None where there is no source.
        maps: attention, where it was recorded.
        share: how many probes share the main page.
    """

    def __init__(
        self,
        records: pa.Table,
        results: Results,
        render: Render | None = None,
        maps: Sequence[Maps] = (),
        share: int = 1,
    ) -> None:
        self._share = share
        self._results = results
        self._specs = [r.intervention for r in results.interventions]
        self._cells = results.counts.cells
        known = pc.and_(
            pc.is_in(records["intervention"], pa.array(self._specs, pa.string())),
            pc.and_(pc.greater_equal(records["cell"], 0), pc.less(records["cell"], self._cells)),
        )
        self._maps = maps
        self._tiles = _Tiles(render)
        self._read(records.filter(known).combine_chunks())

    def __len__(self) -> int:
        return len(self._order)

    def main(self) -> Block:
        """The samples of the main page."""
        room = MOST_BYTES // self._share // (150 + 8 * len(self._specs) * self._cells)
        return self._block(self._order[: max(1, min(MOST, room))], PICTURES // self._share)

    def pages(self, main: Block) -> list[Block]:
        """Blocks of those that the main page does not hold, or holds without pictures."""
        bare = main.bare if self._tiles.can else ()
        left = np.concatenate([np.array(bare, np.int64), self._order[main.count :]])
        blocks = [left[n : n + A_PAGE] for n in range(0, len(left), A_PAGE)]
        return [self._block(block, PICTURES_OF_A_PAGE) for block in blocks[:MOST_PAGES]]

    def _read(self, table: pa.Table) -> None:
        """Lay the records out by (sample, intervention, cell)."""
        items = table["item"].dictionary_encode().combine_chunks()
        kinds = table["question"].dictionary_encode().combine_chunks()
        names = pc.sort_indices(items.dictionary).to_numpy()
        rank = np.empty(len(names), np.int64)
        rank[names] = np.arange(len(names))
        self._items = items.dictionary.take(pa.array(names)).to_pylist()
        self._kinds = sorted(kinds.dictionary.to_pylist(), key=lambda k: (k != "positive", k))
        order = {kind: n for n, kind in enumerate(self._kinds)}
        of_kind = np.array([order[k] for k in kinds.dictionary.to_pylist()], np.int64)
        sample = (
            rank[items.indices.to_numpy()] * max(1, len(order)) + of_kind[kinds.indices.to_numpy()]
        )
        self._ids, at = np.unique(sample, return_inverse=True)
        place_of = {spec: n for n, spec in enumerate(self._specs)}
        spec = np.array([place_of[s] for s in table["intervention"].to_pylist()], np.int64)
        cell = table["cell"].to_numpy()
        size = (len(self._ids), len(self._specs), self._cells)
        self._margins = np.full(size, np.nan)
        self._margins[at, spec, cell] = table["margin"].to_numpy()
        letters = np.array(
            [_LETTERS.get(answer, "x") for answer in table["answer"].to_pylist()], "U1"
        )
        self._answers = np.full(size, ".", "U1")
        self._answers[at, spec, cell] = letters
        self._rows = np.full(size, -1)
        self._rows[at, spec, cell] = np.arange(len(at))
        self._table = table
        first = np.zeros(len(self._ids), np.int64)
        first[at] = np.arange(len(at))
        self._first = first
        self._expected = table["expected"].to_numpy()[first]
        self._order = self._ranked()

    def _ranked(self) -> np.ndarray:
        """Numbers of samples, those that show most first."""
        if not len(self._ids):
            return np.empty(0, np.int64)
        yes = (self._answers == "y").sum(-1)
        flips = (yes * (self._cells - yes)).sum(-1) * self._expected
        right = np.where(self._expected, "y", "n")[:, None, None]
        wrong = ((self._answers != right) & (self._answers != ".")).sum((1, 2))
        return np.lexsort((self._ids, -wrong, -flips))

    def _block(self, which: np.ndarray, budget: int) -> Block:
        self._tiles.begin(budget)
        plans: dict[str, int] = {}
        geometries: dict[str, int] = {}
        samples = [self._sample(int(n), plans, geometries) for n in which]
        bare = [int(n) for n, sample in zip(which, samples, strict=True) if "t" not in sample]
        results = self._results
        maps = [self._map_data(one, samples) for one in self._maps]
        data = {
            "specs": [one_line(spec, 120) for spec in self._specs],
            "kinds": [one_line(kind, 40) for kind in self._kinds],
            "columns": shape(results)[1],
            "places": [place(results, cell) for cell in range(self._cells)],
            "worst": [r.overall.worst_cell for r in results.interventions],
            "geometries": [json.loads(text) for text in geometries],
            "plans": [json.loads(text) for text in plans],
            "tiles": self._tiles.uris,
            "samples": samples,
            "maps": [one for one in maps if one["of"]],
        }
        return Block(data, len(samples), tuple(bare), self._tiles.reason)

    def _sample(self, n: int, plans: dict[str, int], geometries: dict[str, int]) -> dict[str, Any]:
        item, kind = divmod(int(self._ids[n]), max(1, len(self._kinds)))
        found: dict[str, Any] = {
            "i": one_line(self._items[item], 80),
            "q": kind,
            "c": one_line(self._table["caption"][int(self._first[n])].as_py(), 240),
            "e": int(self._expected[n]),
            "m": [
                [round(float(m), 2) if np.isfinite(m) else None for m in row]
                for row in self._margins[n]
            ],
            "a": ["".join(row) for row in self._answers[n]],
        }
        others = {
            f"{s}.{c}": one_line(self._table["argmax_token"][int(row)].as_py(), 12)
            for s, c in np.argwhere(self._answers[n] == "x")
            for row in [self._rows[n, s, c]]
        }
        if others:
            found["o"] = others
        drawn = self._composites(n)
        if drawn is not None:
            found["t"], plan = drawn
            laid = [(geometries.setdefault(g, len(geometries)), tiles) for g, tiles in plan]
            found["p"] = plans.setdefault(json.dumps(laid), len(plans))
        return found

    def _composites(self, n: int) -> tuple[list[int], list[tuple[str, str]]] | None:
        """Numbers of a sample's tiles, and for each cell its geometry and which tile is where."""
        rows = self._rows[n].max(0)
        if rows.min() < 0 or not self._tiles.can:
            return None
        texts = [self._table["recipe"][int(row)].as_py() for row in rows]
        try:
            first = Recipe.from_json(texts[0])
            names = first.tiles()
            numbers = self._tiles.numbers(first, texts[0])
            if numbers is None:
                return None
            recipes = [first, *(Recipe.from_json(text) for text in texts[1:])]
        except WheresightError:
            return None
        if any(set(recipe.tiles()) != set(names) for recipe in recipes):
            return None
        where = {name: _DIGITS[k] for k, name in enumerate(names)}
        plan = [
            (_geometry(recipe), "".join(where[name] for name in recipe.tiles()))
            for recipe in recipes
        ]
        return numbers, plan

    def _map_data(self, maps: Maps, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The maps of a page's samples, by `ITEM QUESTION`, the latter as a number.

        Those of the first samples, as far as there is room.
        """
        of = {(one_line(item, 80), kind): by_cell for (item, kind), by_cell in maps.of.items()}
        found: dict[str, list[str | None]] = {}
        left = MAPS // len(self._maps)
        for sample in samples:
            by_cell = of.get((sample["i"], self._kinds[sample["q"]]))
            if by_cell is not None and left > 0:
                texts = [None if one is None else base64.b64encode(one).decode() for one in by_cell]
                left -= sum(len(text or "") for text in texts)
                found[f"{sample['i']} {sample['q']}"] = texts
        label = one_line(maps.label, 120)
        return {"label": label, "height": maps.height, "width": maps.width, "of": found}


class _Tiles:
    """Small pictures of single tiles, each drawn once, within a budget of bytes."""

    def __init__(self, render: Render | None) -> None:
        self._render = render
        self._failures = 0
        self.reason = ""
        self.begin(0)

    @property
    def can(self) -> bool:
        """Is there a source that can be drawn from?"""
        return self._render is not None and self._failures <= _FAILURES

    def begin(self, budget: int) -> None:
        """Begin another page."""
        self.uris: list[str] = []
        self._numbers: dict[str, int] = {}
        self._left = budget
        self._full = False
        if self._failures == 0:
            self.reason = ""

    def numbers(self, recipe: Recipe, text: str) -> list[int] | None:
        """The numbers of a composite's tiles in their order; None if they cannot be had."""
        names = recipe.tiles()
        new = [k for k, name in enumerate(names) if name not in self._numbers]
        if new:
            if self._render is None or self._full or not self.can:
                return None
            try:
                picture = self._render(text).convert("RGB")
            except Exception as error:  # whatever a source may raise: the numbers are worth a page
                said = one_line(str(error), 300) or type(error).__name__
                self.reason = f"Some pictures could not be drawn: {said}"
                self._failures += 1
                return None
            spots, (across, down) = boxes(recipe), recipe.canvas
            scale = (picture.width / across, picture.height / down)
            for k in new:
                left, top, right, bottom = spots[k]
                tile = picture.crop(
                    (
                        round(left * scale[0]), round(top * scale[1]),
                        round(right * scale[0]), round(bottom * scale[1]),
                    )
                )  # fmt: skip
                self._numbers[names[k]] = len(self.uris)
                self.uris.append(_uri(tile))
                self._left -= len(self.uris[-1])
            if self._left <= 0:
                self._full = True
                self.reason = (
                    "Samples further down have no pictures here, to keep this file small; all "
                    "their answers are shown."
                )
        return [self._numbers[name] for name in names]


def _uri(tile: Image.Image) -> str:
    tile.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if features.check("webp"):
        tile.save(stream, "webp", quality=70, method=4)
        kind = "webp"
    else:
        tile.save(stream, "jpeg", quality=75)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _geometry(recipe: Recipe) -> str:
    """Background, shape and boxes of a composite, in percent of its sides."""
    return _drawn_in(recipe.background, recipe.canvas, tuple(boxes(recipe)))


@functools.lru_cache(maxsize=1024)
def _drawn_in(background: str, canvas: tuple[int, int], spots: tuple[Box, ...]) -> str:
    across, down = canvas
    shares = [
        [
            round(100 * left / across, 2), round(100 * top / down, 2),
            round(100 * (right - left) / across, 2), round(100 * (bottom - top) / down, 2),
        ]
        for left, top, right, bottom in spots
    ]  # fmt: skip
    red, green, blue = colour(background)
    return json.dumps([f"#{red:02x}{green:02x}{blue:02x}", round(across / down, 4), shares])
