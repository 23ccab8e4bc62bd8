"""Grids averaged down to fewer cells, and where the cells of a pooled image go.

Legend: K images of one shape, N tokens of one image, D width, H x W a grid.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from wheresight.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from wheresight.lvlm.layout import ImageTokens, Layout


def pooled(tokens: ImageTokens, side: int) -> ImageTokens:
    """What an image is once its grids are pooled to side x side at most; itself if they are small.

    The tokens kept come first, in the order that images have; the rest are hidden behind them.

    Raises:
        ModelError: if the grid of the image is not known.
    """
    if tokens.height * tokens.width == 0 and tokens.loose > 1:
        raise ModelError(
            f"The grid of an image of {tokens.count} tokens is not known, and this intervention "
            "pools grids. Pass everything that the processor returned, whole images at a time."
        )
    height, width = min(side, tokens.height), min(side, tokens.width)
    thumbnail = (min(side, tokens.thumbnail[0]), min(side, tokens.thumbnail[1]))
    small = dataclasses.replace(tokens, height=height, width=width, thumbnail=thumbnail, hidden=0)
    return dataclasses.replace(small, hidden=tokens.count - small.count)


def pieces(images: torch.Tensor, tokens: ImageTokens) -> tuple[torch.Tensor, ...]:
    """Take images (K, N, D) apart.

    Returns:
        Loose (K, L, D), thumbnail (K, h, w, D), main grid (K, H, W, D), its newlines (K, H, 1, D)
        or (K, H, 0, D), the newline that closes it (K, 1 or 0, D), hidden (K, N', D).
    """
    high, wide = tokens.thumbnail
    main = tokens.height * (tokens.width + tokens.newlines)
    loose, thumbnail, grid, closing, hidden = images.split(
        [tokens.loose, high * wide, main, int(tokens.closing), tokens.hidden], 1
    )
    grid = grid.unflatten(1, (tokens.height, tokens.width + tokens.newlines))
    return (
        loose,
        thumbnail.unflatten(1, (high, wide)),
        grid[:, :, : tokens.width],
        grid[:, :, tokens.width :],
        closing,
        hidden,
    )


def rewrite_pooled(
    name: str,
    embeddings: torch.Tensor,
    layout: Layout,
    side: int,
    rewrite: Callable[[torch.Tensor, ImageTokens, ImageTokens], torch.Tensor],
) -> torch.Tensor:
    """Embeddings (B, T, D) with each image rewritten whose grids are larger than side x side.

    Args:
        name: of the method, for its errors.
        embeddings: (B, T, D).
        layout: of the same rows and columns.
        side: of the pooled grids.
        rewrite: makes, of images (K, N, D), their tokens and their pooled tokens, (K, M, D) with
            M at most N, which stand where the image begins.

    Returns:
        The same tensor if no image changes.

    Raises:
        ModelError: the grid of an image is not known, or an image is not whole.
    """
    from wheresight.interventions.features.images import complete, images_of

    out = embeddings
    for _, span, rows in images_of(layout):
        tokens = pooled(span.tokens, side)
        if tokens == span.tokens:
            continue
        if out is embeddings:
            complete(name, layout)
            out = embeddings.clone()
        made = rewrite(embeddings[rows, span.start : span.stop], span.tokens, tokens)
        out[rows, span.start : span.start + made.shape[1]] = made
    return out


def average(grid: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pool a grid (K, H, W, D) to (K, height, width, D) by averaging, in float32.

    Cell i covers rows floor(i H / height) up to ceil((i + 1) H / height), so that neighbours share
    a row where the grid does not divide; columns alike.
    """
    from torch.nn.functional import adaptive_avg_pool2d

    if grid.shape[1:3] == (height, width):
        return grid
    planes = grid.float().permute(0, 3, 1, 2).contiguous()
    cells = adaptive_avg_pool2d(planes, (height, width))
    return cells.permute(0, 2, 3, 1).to(grid.dtype)


def nearest(size: int, cells: int) -> list[int]:
    """Which of the cells each of `size` rows (or columns) belongs to: floor(r cells / size).

    >>> nearest(5, 2)
    [0, 0, 0, 1, 1]
    """
    return [place * cells // size for place in range(size)]
