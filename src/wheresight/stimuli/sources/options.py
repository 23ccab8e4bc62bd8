"""How a source is to be read: columns, and the seeded sample of it."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar
from urllib.parse import quote

from wheresight.errors import StimulusError, unknown_name

CAPTION_COLUMNS = (
    "caption", "text", "TEXT", "Caption", "captions", "sentence", "description", "title", "label",
)  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of `open_source` chose; None is the default of the kind of source.

    Attributes:
        image: column of the images.
        caption: column of the captions.
        sample: how many pairs to take; None takes all.
        seed: of the sample.
        skip_bad: pass over pairs that cannot be used, instead of an error at the first.

    Raises:
        StimulusError: if the sample is not positive.
    """

    image: str | None = None
    caption: str | None = None
    sample: int | None = None
    seed: int = 0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise StimulusError(
                f"A sample of {self.sample} pairs was asked for. Expected at least 1."
            )

    def name(self, spec: str) -> str:
        """Return the spec with the options that are not default, to be opened again."""
        given = [
            f"{field.name}={quote(str(int(value) if value is True else value), safe='')}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{spec}#{','.join(given)}" if given else spec

    def image_column(self, columns: Sequence[str], where: str, default: str = "image") -> str:
        """Return the image column, once it is known to be there.

        Raises:
            StimulusError: if it is not; the message lists the columns.
        """
        column = self.image or default
        if column == "image" and column not in columns:  # the usual name, not a choice
            column = default
        if column not in columns:
            raise StimulusError(
                unknown_name("image column", column, columns)
                + f" These are the columns of {where}: name one with --image-column."
            )
        return column

    def caption_column(self, columns: Sequence[str], where: str) -> str:
        """Return the caption column: the one asked for, or the first of the usual names.

        Raises:
            StimulusError: if it is not there; the message lists the columns.
        """
        if self.caption is not None:
            if self.caption in columns:
                return self.caption
            raise StimulusError(
                unknown_name("caption column", self.caption, columns)
                + f" These are the columns of {where}."
            )
        for column in CAPTION_COLUMNS:
            if column in columns:
                return column
        raise StimulusError(
            f"No caption column was named, and {where} has none of the usual names. Its columns: "
            f"{', '.join(sorted(columns))}. Name one with --caption-column."
        )

    def select(self, rows: Iterable[T], key: Callable[[T], str], where: str) -> list[T]:
        """Return the sampled rows, or all: the rows stream by, only the sample is held.

        A row is taken if the hash of (seed, id) is among the smallest; the sample comes in the
        order of these hashes, all rows in their own order. If bad pairs are to be skipped, some
        more rows than the sample are returned, to stand in for them.

        Raises:
            StimulusError: if there are no rows, fewer than the sample needs, or an id comes twice.
        """
        if self.sample is None:
            chosen = list(rows)
            found = len(chosen)
        else:
            found = 0

            def ranked() -> Iterable[tuple[bytes, str, int, T]]:
                nonlocal found
                for row in rows:
                    found += 1
                    name = key(row)
                    text = f"{self.seed}\0{name}".encode(errors="surrogatepass")
                    yield hashlib.sha256(text).digest()[:16], name, found, row

            spare = max(64, self.sample // 4) if self.skip_bad else 0
            chosen = [row for *_, row in heapq.nsmallest(self.sample + spare, ranked())]
        if not found:
            raise StimulusError(f"{where} holds no pairs. Expected at least two.")
        if self.sample is not None and found < self.sample:
            raise StimulusError(
                f"A sample of {self.sample:,} pairs was asked for, and {where} has {found:,}. Ask "
                "for fewer."
            )
        seen: set[str] = set()
        for row in chosen:
            name = key(row)
            if name in seen:
                raise StimulusError(
                    f"{where} has two pairs with the id {name!r}. Ids must differ: rename one, or "
                    "open the parts as sources of their own."
                )
            seen.add(name)
        return chosen
