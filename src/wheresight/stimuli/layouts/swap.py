"""Layout `swap`: the key trades places with one distractor, all else stays."""

from __future__ import annotations

from collections.abc import Sequence


def arrange(key: str, distractors: Sequence[str], cell: int, seed: int) -> tuple[str, ...]:
    """Arrange the tiles so that moving the key moves as little else as can be.

    There is one home arrangement per seed: the key stands in cell `seed mod cells`, the
    distractors fill the other cells in their order. For any cell, the key trades places with the
    tile that is at home there. So a composite differs from the home arrangement in exactly two
    cells, and two composites that both differ from it do so from each other in exactly three. Two
    everywhere is impossible: three arrangements cannot all be one exchange apart, since two
    exchanges make an even permutation and one makes an odd one.
    """
    home = seed % (len(distractors) + 1)
    tiles = [*distractors[:home], key, *distractors[home:]]
    tiles[home], tiles[cell] = tiles[cell], tiles[home]
    return tuple(tiles)
