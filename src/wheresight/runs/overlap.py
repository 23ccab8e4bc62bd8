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
    owners: dict[str, dict[str, pa.Table]] = {}
    for unit in sorted(tables, key=lambda name: (-tables[name].num_rows, name)):
        table = tables[unit]
        owner = owners.setdefault(table["intervention"][0].as_py(), {})  # a unit has one
        items = table["item"].unique().to_pylist()
        again = [item for item in items if item in owner]
        for item in again:
            if _asked(owner[item], item) != _asked(table, item):
                raise RunError(
                    f"The item {item!r} was shown with other pictures or captions in one part of "
                    "the records than in another. Repeat the run with another --out."
                )
        owner |= {item: table for item in items if item not in owner}
        if again:
            table = table.filter(pc.invert(pc.is_in(table["item"], pa.array(again))))
        yield table


def _asked(table: pa.Table, item: str) -> set[tuple[str, ...]]:
    """What was shown and asked of an item."""
    rows = table.filter(pc.equal(table["item"], item))
    return set(zip(*(rows[c].to_pylist() for c in ("recipe", "caption")), strict=True))
