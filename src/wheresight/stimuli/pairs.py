"""Image-caption pairs, and the protocol by which any source of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture with its caption, by name; pixels are asked of the source when needed.

    Attributes:
        id: unique within its source, stable between runs.
        caption: clean text, not empty.
        group: pairs of one group show the same thing (an emoji drawn by two vendors, say), so
            none of them is a distractor or an absent caption for another. Defaults to the caption,
            case folded.
        siblings: ids of hard negatives: pictures alike, captions different.
    """

    id: str
    caption: str
    group: str
    siblings: tuple[str, ...] = ()


class Source(Protocol):
    """Where pairs come from.

    Attributes:
        name: the canonical spec that opens this source again, such as `pocket` or `folder:PATH`.
        fingerprint: a hash of the content that decides the pairs; two runs mix only if it is equal.
    """

    name: str
    fingerprint: str

    def pairs(self) -> Sequence[Pair]:
        """All pairs, in an order that does not change between runs."""
        ...

    def image(self, pair_id: str) -> Image.Image:
        """The picture of one pair, RGB (transparency laid on white), full size."""
        ...
