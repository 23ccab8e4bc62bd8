"""Plan items: which key, among which distractors, with which captions that are not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wheresight.errors import StimulusError
from wheresight.stimuli.composites import (
    CANVAS,
    Recipe,
    check_grid,
    fitting_tile,
    jitter_room,
)
from wheresight.stimuli.pairs import Pair


@dataclass(frozen=True, slots=True)
class Item:
    """One key picture with the company it keeps in every cell.

    Attributes:
        id: the key's pair id, the seed and the round: `ID@SEED.ROUND`. All draws come from it.
        key: pair id of the key picture.
        caption: the key's caption.
        distractors: pair ids of the other tiles.
        absent_caption: a caption that fits no tile.
        absent_from: the pair it was taken from.
        sibling: pair id of a hard negative of the key, if it has one and siblings were asked for.
    """

    id: str
    key: str
    caption: str
    distractors: tuple[str, ...]
    absent_caption: str
    absent_from: str
    sibling: str | None = None

    @property
    def seed(self) -> int:
        """A number below 2**63 that follows from the item's id alone."""
        return _hash(f"item\0{self.id}") >> 1


def plan_items(
    pairs: Sequence[Pair],
    n: int,
    rows: int,
    columns: int,
    seed: int = 0,
    siblings: bool = True,
) -> list[Item]:
    """Plan n items for a grid: item i depends on the pairs, the grid, the seed and i alone.

    Keys go round the pairs in a seeded order; when n is larger than the number of pairs, keys
    come again in the next round with other distractors. The key, its distractors and the pair of
    the absent caption all differ from each other in group and in caption (case folded). Siblings
    of the key's group are never its distractors, and the absent caption is no sibling of any tile.
    The distractors of a smaller grid are the first of those of a larger one. Neither n, nor the
    order of the pairs, nor `siblings` changes anything else.

    Args:
        pairs: all pairs of a source.
        n: how many items.
        rows, columns: the grid, from 1x2 to 8x8.
        seed: of the order of keys and of all draws.
        siblings: give each item a hard negative of its key, where it has one.

    Raises:
        StimulusError: if the grid is unknown, n is not positive, two pairs share an id, or there
            are fewer different pictures than the grid needs.
    """
    check_grid(rows, columns)
    if n < 1:
        raise StimulusError(f"{n} items were asked for. Expected at least 1.")
    company = _Company(pairs)
    count = rows * columns - 1
    company.check_enough(count + 2, f"{rows}x{columns}")
    order = sorted(pairs, key=lambda pair: (_hash(f"order\0{seed}\0{pair.id}"), pair.id))
    return [
        company.item(order[i % len(order)], f"{seed}.{i // len(order)}", count, siblings)
        for i in range(n)
    ]


def recipes(
    item: Item,
    rows: int,
    columns: int,
    *,
    layout: str = "swap",
    canvas: int | tuple[int, int] = CANVAS,
    tile: int | None = None,
    background: str = "white",
    jitter: int = 0,
) -> list[Recipe]:
    """Return one recipe per cell of the grid, the key in each cell once, row-major.

    Args:
        item: from `plan_items`, for the same grid.
        rows, columns: the grid.
        layout: `swap`, `insert`, or the name of a plug-in's layout.
        canvas: one side of a square canvas, or width and height, in pixels.
        tile: side of the square box of one picture in pixels; default `fitting_tile`.
        background: a colour name or #rrggbb.
        jitter: the grid is shifted by up to so many pixels to each side, along both axes, drawn
            once per item: this moves cells against the model's patches, alike for all cells.

    Raises:
        StimulusError: if the parts do not fit, or the margin is narrower than the jitter.
    """
    check_grid(rows, columns)
    sides = (canvas, canvas) if isinstance(canvas, int) else canvas
    box = fitting_tile(rows, columns, sides) if tile is None else tile
    shift = _shift(item, jitter, jitter_room(rows, columns, sides, box)) if jitter else (0, 0)
    return [
        Recipe(
            key=item.key,
            distractors=item.distractors,
            cell=cell,
            rows=rows,
            columns=columns,
            layout=layout,
            canvas=sides,
            tile=box,
            background=background,
            jitter=shift,
            seed=item.seed,
        )
        for cell in range(rows * columns)
    ]


def _shift(item: Item, most: int, room: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= most <= min(room):
        raise StimulusError(
            f"A jitter of {most} px was asked for, and the grid has {room[0]} px of margin beside "
            f"and {room[1]} px above it. Expected 0 to {min(room)}: make the tiles smaller."
        )
    draws = _draws(f"jitter\0{item.id}")
    return next(draws) % (2 * most + 1) - most, next(draws) % (2 * most + 1) - most


class _Company:
    """Which pairs can stand beside which."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.by_id = {pair.id: pair for pair in pairs}
        if len(self.by_id) != len(pairs):
            seen: set[str] = set()
            twice = next(p.id for p in pairs if p.id in seen or seen.add(p.id))  # type: ignore[func-returns-value]
            raise StimulusError(f"Two pairs have the id {twice!r}. Ids must differ.")
        self.sorted = [self.by_id[name] for name in sorted(self.by_id)]
        self.caption = {pair.id: pair.caption.casefold() for pair in pairs}
        self.kin: dict[str, set[str]] = {pair.group: set() for pair in pairs}
        for pair in pairs:
            for name in pair.siblings:
                if name in self.by_id and self.by_id[name].group != pair.group:
                    self.kin[pair.group].add(self.by_id[name].group)
                    self.kin[self.by_id[name].group].add(pair.group)

    def check_enough(self, needed: int, grid: str) -> None:
        groups = len(self.kin)
        captions = len(set(self.caption.values()))
        if min(groups, captions) < needed:
            raise StimulusError(
                f"A {grid} grid needs at least {needed} different pictures (one per cell, and one "
                f"whose caption is absent). The source has {len(self.sorted)} pairs in {groups} "
                f"groups with {captions} captions: add pairs, or choose a smaller grid."
            )

    def item(self, key: Pair, round_: str, count: int, siblings: bool) -> Item:
        name = f"{key.id}@{round_}"
        taken = _Taken(self, [key])
        taken.groups |= self.kin[key.group]
        distractors: list[Pair] = []
        for pair in self._shuffled(f"distractors\0{name}"):
            if len(distractors) == count:
                break
            if taken.admits(pair):
                taken.add(pair)
                distractors.append(pair)
        if len(distractors) < count:
            raise StimulusError(
                f"The item {name!r} needs {count} distractors that differ in group and caption "
                f"and are no siblings of its key, and the source has {len(distractors)}. Add "
                "pairs, or choose a smaller grid."
            )
        for pair in (key, *distractors):
            taken.groups |= self.kin[pair.group]
        absent = next(filter(taken.admits, self._shuffled(f"absent\0{name}")), None)
        if absent is None:
            raise StimulusError(
                f"The item {name!r} needs a caption that fits no tile and is no sibling of one, "
                f"and the {len(self.sorted)} pairs of the source have none. Add pairs, choose a "
                "smaller grid, or leave out siblings: each takes a caption from those that may be "
                "called absent."
            )
        return Item(
            id=name,
            key=key.id,
            caption=key.caption,
            distractors=tuple(pair.id for pair in distractors),
            absent_caption=absent.caption,
            absent_from=absent.id,
            sibling=self._sibling(key, name) if siblings else None,
        )

    def _sibling(self, key: Pair, name: str) -> str | None:
        found = sorted(
            other
            for other in set(key.siblings) & self.by_id.keys()
            if self.by_id[other].group != key.group and self.caption[other] != self.caption[key.id]
        )
        return found[next(_draws(f"sibling\0{name}")) % len(found)] if found else None

    def _shuffled(self, seed: str) -> Iterator[Pair]:
        """Yield all pairs in a seeded order; what is not asked for is not shuffled."""
        moved: dict[int, int] = {}
        size = len(self.sorted)
        draws = _draws(seed)
        for start in range(size):
            chosen = start + next(draws) % (size - start)
            yield self.sorted[moved.get(chosen, chosen)]
            moved[chosen] = moved.get(start, start)


class _Taken:
    """Groups and captions that no further pair of an item may have."""

    def __init__(self, company: _Company, pairs: Sequence[Pair]) -> None:
        self.caption = company.caption
        self.groups = {pair.group for pair in pairs}
        self.captions = {company.caption[pair.id] for pair in pairs}

    def admits(self, pair: Pair) -> bool:
        return pair.group not in self.groups and self.caption[pair.id] not in self.captions

    def add(self, pair: Pair) -> None:
        self.groups.add(pair.group)
        self.captions.add(self.caption[pair.id])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _draws(seed: str) -> Iterator[int]:
    """Yield numbers below 2**64 that follow from the seed, the same on every machine."""
    block = hashlib.sha256(seed.encode()).digest()
    while True:
        for start in range(0, 32, 8):
            yield int.from_bytes(block[start : start + 8], "big")
        block = hashlib.sha256(block).digest()
