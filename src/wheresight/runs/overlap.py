"""Units that overlap: the last one of a run has few items, and more when the run is made larger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from wheresight.errors import RunError


def without_overlap(tables: Mapping[str, pa.Table]) -> Iterator[pa.Table]:
    """Each item's rows under an intervention from one unit, the largest that has it.

    Args:
        tables: records of a run, by unit.

    Raises:
        RunError: if the item was shown or asked about otherwise in another unit.
    """
    owner: dict[tuple[str, str], str] = {}
    for unit in sorted(tables, key=lambda name: (-tables[name].num_rows, name)):
        table = tables[unit]
        pairs = table.group_by(["intervention", "item"]).aggregate([])
        found = list(zip(*(pairs[c].to_pylist() for c in ("intervention", "item")), strict=True))
        again = [item for spec, item in found if (spec, item) in owner]
        for item in again:
            first = tables[owner[table["intervention"][0].as_py(), item]]
            if _asked(first, item) != _asked(table, item):
                raise RunError(
                    f"The item {item!r} was shown with other pictures or captions in one part of "
                    "the records than in another. Repeat the run with another --out."
                )
        owner |= {pair: unit for pair in found if pair not in owner}
        yield table.filter(pc.invert(pc.is_in(table["item"], pa.array(again, pa.string()))))


def _asked(table: pa.Table, item: str) -> set[tuple[str, ...]]:
    """What was shown and asked of an item."""
    rows = table.filter(pc.equal(table["item"], item))
    return set(zip(*(rows[c].to_pylist() for c in ("recipe", "caption")), strict=True))
