"""Prompts for position methods: stock ids and layouts, by hand or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import strategies as st

from wheresight.lvlm.layout import ImageSpan, ImageTokens, Layout, layout_of

Row = tuple[int, list[tuple[ImageTokens, int]]]


class Prompts:
    """Rows of text and images, with the ids that stock models give them."""

    def row(self, *, packed: bool = True, grids: bool = True) -> st.SearchStrategy[Row]:
        """Text in front, then images, each followed by text (none between adjacent images).

        Args:
            packed: thumbnails, newlines and a class token may be there.
            grids: grids are known; else tokens may be loose.
        """
        side = st.integers(1, 12)
        plain = st.builds(ImageTokens, side, side)
        kinds = [plain]
        if packed:
            small = st.integers(1, 4)
            kinds.append(
                st.builds(
                    ImageTokens,
                    side,
                    side,
                    thumbnail=st.just((0, 0)) | st.tuples(small, small),
                    newlines=st.booleans(),
                    loose=st.integers(0, 1),
                )
            )
        if not grids:
            kinds.append(st.builds(lambda n: ImageTokens(0, 0, loose=n), st.integers(1, 20)))
        image = st.tuples(st.one_of(kinds), st.integers(0, 4))
        return st.tuples(st.integers(0, 5), st.lists(image, max_size=3))

    def rows(self, most: int = 3, **options: bool) -> st.SearchStrategy[list[Row]]:
        """A batch of one or more rows, at least one with an image."""
        batch = st.lists(self.row(**options), min_size=1, max_size=most)
        return batch.filter(lambda rows: any(images for _, images in rows))

    def written(
        self, rows: Sequence[Row], *, m_rope: bool = False, left: bool = True
    ) -> tuple[torch.Tensor, Layout]:
        """Stock ids (R, B, T) and the layout of padded rows; padding has id 1."""
        lengths = [front + sum(t.count + after for t, after in images) for front, images in rows]
        width = max(lengths)
        ids = torch.ones(3 if m_rope else 1, len(rows), width, dtype=torch.long)
        real, spans = torch.zeros(len(rows), width), []
        for b, (front, images) in enumerate(rows):
            made: list[torch.Tensor] = []
            own: list[ImageSpan] = []
            at = width - lengths[b] if left else 0
            real[b, at : at + lengths[b]] = 1
            begin = at
            position = 0
            for tokens, after in [(None, front), *images]:
                if tokens is not None:
                    own.append(ImageSpan(at, at + tokens.count, tokens))
                    at += tokens.count
                    if m_rope:
                        # Hidden tokens are on the last cell of what is left.
                        raster = torch.arange(tokens.count)
                        raster = raster.clamp_max(tokens.height * tokens.width - 1)
                        grid = [raster * 0, raster // tokens.width, raster % tokens.width]
                        made.append(position + torch.stack(grid))
                        position += max(tokens.height, tokens.width)
                    else:
                        made.append(position + torch.arange(tokens.count)[None])
                        position += tokens.count
                made.append(position + torch.arange(after).expand(ids.shape[0], -1))
                position += after
                at += after
            ids[:, b, begin:at] = torch.cat([m.expand(ids.shape[0], -1) for m in made], 1)
            spans.append(tuple(own))
        return ids, layout_of(tuple(spans), real, real)

    def one(
        self, front: int, *images: ImageTokens, after: int = 2, m_rope: bool = False
    ) -> tuple[torch.Tensor, Layout]:
        """One row: text, then images with `after` text tokens behind each."""
        return self.written([(front, [(tokens, after) for tokens in images])], m_rope=m_rope)

    def causal(self, layout: Layout) -> torch.Tensor:
        """(B, T, T) bool: who sees whom in a model without interventions."""
        real = layout.kind != 0
        square = torch.ones(layout.length, layout.length, dtype=torch.bool).tril()
        return square & real[:, None, :] & real[:, :, None]


@pytest.fixture(scope="session")
def prompts() -> Prompts:
    return Prompts()
