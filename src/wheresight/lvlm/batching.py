"""Which rows go through a model together, and what they have in common.

Legend: rows are questions about pictures, T tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from wheresight.errors import ModelError
from wheresight.lvlm.memory import is_out_of_memory
from wheresight.lvlm.preprocessing import Row


def batches(
    rows: Sequence[Row], numbers: Iterable[int], most: int, image_id: int | None
) -> Iterator[list[int]]:
    """Row numbers in batches: whole pictures together, rows of like length together.

    The batches depend on the rows alone, so a repeated run repeats its rounding too.

    Args:
        rows: all of them.
        numbers: of those that are left to do.
        most: rows in one batch.
        image_id: the id of an image token, where all rows of a batch have to begin alike to the end
            of their picture; else None.
    """
    by_picture: dict[int, list[int]] = {}
    for i in numbers:
        by_picture.setdefault(rows[i].picture, []).append(i)
    groups = sorted(by_picture.values(), key=lambda g: (len(rows[g[0]].ids), g[0]))
    batch: list[int] = []
    for group in groups:
        if batch and (
            len(batch) + len(group) > most
            or (image_id is not None and not _alike(rows[batch[0]], rows[group[0]], image_id))
        ):
            yield batch
            batch = []
        batch = [*batch, *group]
        while len(batch) > most:  # one picture with more questions than fit
            yield batch[:most]
            batch = batch[most:]
    if batch:
        yield batch


def _alike(a: Row, b: Row, image_id: int) -> bool:
    """Do two rows begin alike at least to the end of their picture?"""
    end = _image_end(a, image_id)
    return end == _image_end(b, image_id) and a.ids[:end] == b.ids[:end]


def _image_end(row: Row, image_id: int) -> int:
    return max((n + 1 for n, token in enumerate(row.ids) if token == image_id), default=0)


def half(error: Exception, tried: int, what: str) -> int:
    """Half of what was tried when an error came up, if that error says that memory ran out."""
    if not is_out_of_memory(error):
        raise error
    if tried == 1:
        raise ModelError(
            f"Memory ran out with a single {what} at once ({' '.join(str(error).split())[:200]}). "
            "Take a smaller dtype, a smaller canvas or model, or a device with more memory."
        ) from None
    return tried // 2


def of_one_length(rows: Sequence[Row]) -> list[list[int]]:
    """Numbers of rows of equal length, which run together without padding."""
    by_length: dict[int, list[int]] = {}
    for n, row in enumerate(rows):
        by_length.setdefault(len(row.ids), []).append(n)
    return list(by_length.values())


def common_prefix(rows: Sequence[Row]) -> int:
    """Length of the beginning that all rows share, at least one token short of every row."""
    shortest = min(len(row.ids) for row in rows)
    alike = itertools.takewhile(
        lambda column: len(set(column)) == 1, zip(*(row.ids for row in rows), strict=False)
    )
    return min(sum(1 for _ in alike), shortest - 1)


def cut(types: dict[str, tuple[int, ...]], start: int, stop: int) -> dict[str, tuple[int, ...]]:
    return {key: value[start:stop] for key, value in types.items()}
