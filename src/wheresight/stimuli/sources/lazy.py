"""The source that all kinds return: pairs are known, pictures are read when they are asked for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli import captions, images
from wheresight.stimuli.pairs import Pair
from wheresight.stimuli.recent import Recent
from wheresight.stimuli.sources.options import Options

HASHED_IMAGES = 10_000
KEPT_BYTES = 64 * 2**20
MAX_ID = 500

T = TypeVar("T")


class LazySource:
    """Pairs in memory, encoded pictures wherever they are.

    Args:
        name: the spec that opens this source again.
        pairs: its pairs, in an order that does not change.
        read: gives the encoded bytes of a pair's picture. It is asked for any pair in any order,
            though `read_order` is the cheapest.
        read_order: pair ids in the order in which their bytes are stored; default: of the pairs.
        skipped: why pairs were passed over, a sentence each.
    """

    def __init__(
        self,
        name: str,
        pairs: Sequence[Pair],
        read: Callable[[str], bytes],
        read_order: Sequence[str] | None = None,
        skipped: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.skipped = tuple(skipped)
        self._pairs = tuple(pairs)
        self._ids = {pair.id for pair in self._pairs}
        self._read = read
        self._read_order = read_order
        self._kept = Recent(self._decode, lambda seen: 3 * seen.width * seen.height, KEPT_BYTES)

    def pairs(self) -> Sequence[Pair]:
        """All pairs, in an order that does not change between runs."""
        return self._pairs

    def image(self, pair_id: str) -> Image.Image:
        """The picture of one pair, RGB (transparency laid on white), full size.

        Raises:
            StimulusError: if there is no such pair, or its picture cannot be used.
        """
        if pair_id not in self._ids:
            raise StimulusError(unknown_name("pair", pair_id, list(self._ids)[:20]))
        return self._kept[pair_id]

    if TYPE_CHECKING:
        fingerprint: str  # the protocol asks for an attribute; it is computed on first use
    else:

        @functools.cached_property
        def fingerprint(self) -> str:
            """See `_hash`."""
            return self._hash()

    def _hash(self) -> str:
        """A hash of the pairs and their encoded pictures; of neither their order nor their place.

        Of more than HASHED_IMAGES pairs, all texts count but only so many pictures, those with
        the smallest hashes of their ids: a change to another picture goes unseen.
        """
        chosen = self._ids
        if len(chosen) > HASHED_IMAGES:
            chosen = set(sorted(chosen, key=lambda name: _digest(name.encode()))[:HASHED_IMAGES])
        order = self._read_order or [pair.id for pair in self._pairs]
        pictures = {name: _digest(self._read(name)).hex() for name in order if name in chosen}
        total = hashlib.sha256()
        for pair in sorted(self._pairs, key=lambda pair: pair.id):
            parts = (pair.id, pair.caption, pair.group, *pair.siblings, pictures.get(pair.id, ""))
            for part in parts:
                total.update(f"{len(part)}:{part}".encode())
            total.update(b"\n")
        return total.hexdigest()[:32]

    def _decode(self, pair_id: str) -> Image.Image:
        return images.decode(self._read(pair_id), pair_id)


def assemble(
    name: str,
    rows: Iterable[T],
    make: Callable[[T], Pair],
    read: Callable[[str], bytes],
    options: Options,
    read_order: Sequence[str] | None = None,
) -> LazySource:
    """Make the source of selected rows; with `options.skip_bad`, of those that can be used.

    Raises:
        StimulusError: if a row makes no pair; or, when skipping, if too few are left.
    """
    pairs: list[Pair] = []
    skipped: list[str] = []
    for row in rows:
        if len(pairs) == options.sample:
            break
        try:
            pair = make(row)
            if options.skip_bad:
                images.decode(read(pair.id), pair.id)
        except StimulusError as error:
            if not options.skip_bad:
                raise
            skipped.append(str(error))
        else:
            pairs.append(pair)
    if len(pairs) < (options.sample or 1):
        raise StimulusError(
            f"The source {name!r} has only {len(pairs):,} pairs that can be used among those "
            f"looked at; {len(skipped):,} were skipped. The first: {skipped[0]}"
        )
    return LazySource(name, pairs, read, read_order, skipped)


def pair_from_row(pair_id: str, caption: object, row: Mapping[str, object]) -> Pair:
    """Make a pair of a row: the caption is cleaned, `group` and `siblings` are read if given.

    Raises:
        StimulusError: if the id or caption cannot be used, or `siblings` is not a list of ids.
    """
    if not pair_id or len(pair_id) > MAX_ID or not pair_id.isprintable():
        raise StimulusError(
            f"The id {pair_id[:80]!r} cannot be used. Expected 1 to {MAX_ID} printable characters."
        )
    text = captions.clean(caption, pair_id)
    group = row.get("group")
    siblings = row.get("siblings")
    if siblings is None:
        siblings = ()
    if not isinstance(siblings, list | tuple) or not all(isinstance(s, str) for s in siblings):
        raise StimulusError(
            f"The siblings of {pair_id!r} are {siblings!r}. Expected a list of pair ids."
        )
    return Pair(
        id=pair_id,
        caption=text,
        group=text.casefold() if group in (None, "") else str(group),
        siblings=tuple(siblings),
    )


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
