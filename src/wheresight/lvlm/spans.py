"""Which image each run of placeholder tokens belongs to.

A prompt only shows runs of one placeholder id. Two images without text between them make one run,
and a prefill in chunks may cut an image in two; the sizes that the adapter reads from the inputs
tell them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.layout import ImageSpan, ImageTokens

Run = tuple[int, int]
Spans = tuple[tuple[ImageSpan, ...], ...]


@dataclass(frozen=True)
class ImageSizes:
    """What an adapter can tell of the images of a call, in the order of their placeholders.

    Attributes:
        images: one entry an image. Under `same`, the one entry that holds for all images.
        same: True if every image of this family has the same tokens.
        declared: True if they come from the caller's inputs, so that a mismatch is an error. False
            if they are read off features that a chunked prefill may have cut or joined.
    """

    images: Sequence[ImageTokens] = ()
    same: bool = False
    declared: bool = True


def runs_of(placeholder: torch.Tensor) -> list[list[Run]]:
    """The runs (start, stop) of True in each row of (B, T) bool."""
    edge = torch.zeros_like(placeholder[:, :1])
    change = torch.cat([edge, placeholder, edge], 1).diff(dim=1).nonzero().tolist()
    runs: list[list[Run]] = [[] for _ in range(placeholder.shape[0])]
    for (b, start), (_, stop) in zip(change[::2], change[1::2], strict=True):
        runs[b].append((start, stop))
    return runs


def place(runs: list[list[Run]], sizes: ImageSizes, length: int) -> Spans:
    """Give every run of a whole prompt (T = `length` columns) its images.

    Raises:
        ModelError: if runs and images do not fit together.
    """
    return _walk(runs, sizes, [()] * len(runs), length, whole=True)


def place_chunk(runs: list[list[Run]], sizes: ImageSizes, before: Spans, length: int) -> Spans:
    """Give every run of the history its images, as far as it has come.

    Args:
        runs: of the whole history, this call's tokens included.
        sizes: of this call's images; of all images of the conversation; or undeclared.
        before: the images of earlier calls on the same cache.
        length: columns of the whole history.

    Raises:
        ModelError: if declared images and runs do not fit together.
    """
    if not sizes.declared and _any_goes_on(runs, before):
        return _by_run(runs, before)
    fresh: Spans = ((),) * len(runs)
    attempts = [(before, True), (fresh, True), (fresh, False), (before, False)]
    first_error: ModelError | None = None
    for known, whole in attempts if sizes.declared else attempts[:1]:
        try:
            found = _walk(runs, sizes, known, length, whole)
        except ModelError as error:
            first_error = first_error or error
            continue
        if all(_continues(old, new) for old, new in zip(before, found, strict=True)):
            return found
    if sizes.declared and first_error is not None:
        raise first_error
    return _by_run(runs, before)


def _any_goes_on(runs: list[list[Run]], before: Spans) -> bool:
    """True if a known image is the beginning of a run that has grown since."""
    return any(
        any(start < spans[-1].stop < stop for start, stop in row_runs)
        for row_runs, spans in zip(runs, before, strict=True)
        if spans
    )


def _continues(old: tuple[ImageSpan, ...], new: tuple[ImageSpan, ...]) -> bool:
    """True if `new` has every image of `old`, the last of which may have grown."""
    return len(new) >= len(old) and all(
        a.start == b.start and a.tokens == b.tokens for a, b in zip(old, new, strict=False)
    )


def _walk(
    runs: list[list[Run]],
    sizes: ImageSizes,
    known: Sequence[tuple[ImageSpan, ...]],
    length: int,
    whole: bool,
) -> Spans:
    """Hand out images to runs from left to right, those known to a row first.

    With `whole`, every image must be handed out and filled. Without, the last image of a row may
    be cut by the end of the history, and images may be left for chunks to come, if it cannot
    matter which row they will go to.
    """
    supply = deque(() if sizes.same else sizes.images)
    rows = []
    for b, row_runs in enumerate(runs):
        queue = deque(span.tokens for span in known[b])
        spans: list[ImageSpan] = []
        for start, stop in row_runs:
            at = start
            while at < stop:
                if queue:
                    image = queue.popleft()
                elif sizes.same:
                    image = sizes.images[0]
                elif supply:
                    image = supply.popleft()
                else:
                    raise ModelError(
                        f"Row {b} has image placeholder tokens from column {at} to {stop - 1}, but "
                        f"no image is left for them: {len(sizes.images)} given. Give one image "
                        "for each placeholder of the prompt, in the order of the rows."
                    )
                end = at + max(image.count, 1)
                if end > stop and not (stop == length and not whole):
                    raise ModelError(
                        f"Row {b} has {stop - at} image placeholder tokens from column {at}, but "
                        f"image {len(spans)} of that row takes {image.count}. Make prompt and "
                        "images with the model's own processor."
                    )
                spans.append(ImageSpan(at, min(end, stop), image))
                at = end
        rows.append(tuple(spans))
    if supply and (whole or (len(runs) > 1 and len(set(sizes.images)) > 1)):
        raise ModelError(
            f"{len(sizes.images)} images were given, but the prompt has placeholder tokens for "
            f"only {len(sizes.images) - len(supply)} of them. Give one image for each placeholder."
        )
    return tuple(rows)


def _by_run(runs: list[list[Run]], before: Spans) -> Spans:
    """Take each run for one image of unknown grid, unless an earlier call knew it."""
    rows = []
    for row_runs, old in zip(runs, before, strict=True):
        spans: list[ImageSpan] = []
        for start, stop in row_runs:
            kept = [span for span in old if start <= span.start < stop]
            if kept and kept[-1].stop == stop:
                spans.extend(kept)
                continue
            # The last known image goes on: how far, only the end of its run can tell.
            spans.extend(kept[:-1])
            begin = kept[-1].start if kept else start
            spans.append(ImageSpan(begin, stop, ImageTokens(0, 0, loose=stop - begin)))
        rows.append(tuple(spans))
    return tuple(rows)
