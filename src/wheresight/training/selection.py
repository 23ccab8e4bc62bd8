"""Choose the rows to train on: drawn by a seed, each looked at whole before any weights load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from wheresight.errors import StimulusError
from wheresight.runs.progress import Progress
from wheresight.training.collate import Collator
from wheresight.training.data import Corpus


@dataclass(frozen=True)
class Selection:
    """The rows to train on, in the order in which they were drawn.

    Attributes:
        rows: their numbers in the file.
        fingerprint: hash of their texts and of their pictures' bytes, in order.
        text_only: how many have no picture.
        pictures: how many pictures the others have.
        learned: how many of their tokens are learned.
        tokens: how many they have.
        longest: tokens of the longest.
        left_out: how many rows were drawn and left out, by why.
    """

    rows: tuple[int, ...]
    fingerprint: str
    text_only: int
    pictures: int
    learned: int
    tokens: int
    longest: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class _Measured:
    """What one row is; `fault` says why it cannot be used, and `kind` which fault that is."""

    digest: bytes = b""
    pictures: int = 0
    tokens: int = 0
    learned: int = 0
    kind: str = ""
    fault: str = ""


class _Rows:
    """Measures a row when it is asked for: a dataset for torch's loader."""

    def __init__(
        self, corpus: Corpus, collator: Collator, max_length: int, need_pictures: bool
    ) -> None:
        self.corpus, self.collator = corpus, collator
        self.max_length, self.need_pictures = max_length, need_pictures

    def __getitem__(self, index: int) -> _Measured:
        try:
            one = self.corpus[index]
            row = self.collator.row(one, self.corpus.pictures(one))
        except StimulusError as error:
            return _Measured(kind="unusable", fault=str(error))
        if self.need_pictures and not one.pictures:
            return _Measured(
                kind="text alone",
                fault=f"{one.name} has no picture, and where the projector alone is trained "
                "nothing is learned from it.",
            )
        if not row.learned:
            return _Measured(kind="empty", fault=f"{one.name} has no answer to learn.")
        if len(row.ids) > self.max_length:
            return _Measured(
                kind="too long",
                fault=f"{one.name} has {len(row.ids):,} tokens, and at most {self.max_length:,} "
                "are taken (--max-length); rows are never cut.",
            )
        digest = hashlib.sha256(json.dumps(one.messages(), ensure_ascii=False).encode())
        for picture in one.pictures:
            data = self.corpus.picture_bytes(picture, one.name)
            digest.update(hashlib.sha256(data).digest())
        return _Measured(digest.digest(), len(one.pictures), len(row.ids), row.learned)


def select(
    corpus: Corpus,
    collator: Collator,
    *,
    samples: int | None,
    seed: int,
    max_length: int,
    skip_bad: bool,
    workers: int,
    progress: Progress,
    need_pictures: bool = False,
) -> Selection:
    """Draw rows until there are `samples` that can be used, and make each of them once.

    Args:
        corpus, collator: the rows, and what makes them.
        samples: how many; None for all.
        seed: of the draw.
        max_length: tokens that a row may have.
        skip_bad: leave rows out that cannot be used, and draw others in their place.
        workers: processes that do it; 0 for this one.
        progress: who is told.
        need_pictures: rows of text alone cannot be used.

    Raises:
        StimulusError: a row that cannot be used, unless `skip_bad`; or none that can.
    """
    order = corpus.draw(samples, seed)
    wanted = len(order) if samples is None else samples
    whole = hashlib.sha256()
    rows: list[int] = []
    left_out: dict[str, int] = {}
    first_fault = ""
    text_only = pictures = learned = tokens = longest = 0
    progress.start(wanted, 0, "rows looked at")
    try:
        made = _Rows(corpus, collator, max_length, need_pictures)
        with closing(_measure(made, order, workers)) as measured:
            for index, one in zip(order, measured, strict=False):
                if one.fault and not skip_bad:
                    raise StimulusError(f"{one.fault} Add --skip-bad to leave such rows out.")
                if one.fault:
                    left_out[one.kind] = left_out.get(one.kind, 0) + 1
                    first_fault = first_fault or one.fault
                    continue
                rows.append(index)
                whole.update(one.digest)
                text_only += not one.pictures
                pictures += one.pictures
                learned += one.learned
                tokens += one.tokens
                longest = max(longest, one.tokens)
                progress.advance(1)
                if len(rows) == wanted:
                    break
    finally:
        progress.stop()
    if not rows:
        raise StimulusError(f"No row of {str(corpus.path)!r} can be used. The first: {first_fault}")
    return Selection(
        tuple(rows), whole.hexdigest(), text_only, pictures, learned, tokens, longest, left_out
    )


def _measure(rows: _Rows, order: list[int], workers: int) -> Generator[_Measured, None, None]:
    if not workers:
        yield from map(rows.__getitem__, order)
        return
    from torch.utils.data import DataLoader

    dataset: Any = rows  # it has what a dataset needs
    yield from DataLoader(
        dataset, sampler=order, batch_size=None, num_workers=workers, collate_fn=_as_it_is
    )


def _as_it_is(one: Any) -> Any:
    return one
