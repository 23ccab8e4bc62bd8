"""The images of a batch, those that lie and look alike together.

Legend: B batch, T tokens, N tokens of one image, K rows that share a span.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wheresight.errors import ModelError

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import ImageSpan, Layout


def images_of(layout: Layout) -> Iterator[tuple[int, ImageSpan, torch.Tensor]]:
    """Yield the number an image has in its row, its span, and the rows (K,) where that is so."""
    import torch

    found = [(row, span) for row, spans in enumerate(layout.images) for span in spans]
    if not found:
        return
    # Not the place in the list of spans: a layout of the last columns has lost the first spans.
    at = torch.tensor([(row, max(span.start, 0)) for row, span in found]).T.to(layout.kind.device)
    numbers: list[int] = layout.image[at[0], at[1]].tolist()
    alike: dict[tuple[int, ImageSpan], list[int]] = {}
    for (row, span), number in zip(found, numbers, strict=True):
        alike.setdefault((number, span), []).append(row)
    for (number, span), rows in alike.items():
        yield number, span, torch.tensor(rows, device=layout.kind.device)


def shown(layout: Layout, span: ImageSpan, rows: torch.Tensor) -> torch.Tensor:
    """(K, N) bool: which tokens of the image are not hidden."""
    from wheresight.lvlm.layout import Kind

    return layout.kind[rows, span.start : span.stop] != Kind.HIDDEN


def complete(method: str, layout: Layout) -> None:
    """Raise ModelError if an image is cut, or has lost tokens from the midst of its grid."""
    from wheresight.lvlm.layout import Kind

    spans = [span for row in layout.images for span in row]
    if not all(span.complete for span in spans):
        raise ModelError(
            f"{method!r} needs all tokens of an image in one call, and an image is cut in two. "
            "Run the prompt in one piece, or cut it between images."
        )
    behind = sum(span.tokens.hidden for span in spans)
    if int((layout.kind == Kind.HIDDEN).sum()) != behind:
        raise ModelError(
            f"{method!r} needs whole grids, and tokens of an image were taken away before. Give "
            f"{method} before the method that takes tokens away."
        )


def draws(seed: int, number: int, count: int) -> torch.Tensor:
    """Random numbers (N,) int64 that follow from seed, image number and N, on every machine.

    Args:
        seed: 0 or more.
        number: which image of its row, from 0.
        count: N.
    """
    import numpy as np
    import torch

    stream = hashlib.shake_256(f"{seed}\0{number}\0{count}".encode()).digest(8 * count)
    # The top bit goes, so that they are not negative; two of them are never equal in practice.
    return torch.from_numpy(np.frombuffer(stream, "<u8").astype(np.uint64) >> 1).to(torch.int64)
