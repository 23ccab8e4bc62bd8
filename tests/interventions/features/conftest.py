"""Batches of prompts with images of every shape, as layout, embeddings and stock ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st

from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, Layout, layout_of

# A row: text in front, then images, each followed by text (none between adjacent images).
Row = tuple[int, list[tuple[ImageTokens, int]]]
WIDTH = 6


@dataclass
class Batch:
    """Rows of prompts, padded to one length.

    Attributes:
        embeddings: (B, T, 6) float32. A row's real tokens hold what they hold in any batch.
        line, grid: (1, B, T) and (3, B, T) stock ids, on a line and under M-RoPE.
    """

    rows: list[Row]
    layout: Layout
    embeddings: torch.Tensor
    line: torch.Tensor
    grid: torch.Tensor

    def real(self, row: int) -> torch.Tensor:
        """(T,) bool: tokens of a row that are not padding."""
        return self.layout.kind[row] != Kind.PAD


def made(rows: list[Row], left: bool = True) -> Batch:
    """Write prompts down in columns."""
    lengths = [front + sum(tokens.count + after for tokens, after in row) for front, row in rows]
    width = max(*lengths, 1)
    embeddings = torch.zeros(len(rows), width, WIDTH)
    line = torch.zeros(1, len(rows), width, dtype=torch.long)
    grid = torch.zeros(3, len(rows), width, dtype=torch.long)
    spans, real = [], torch.zeros(len(rows), width)
    for b, (front, images) in enumerate(rows):
        at = width - lengths[b] if left else 0
        here = slice(at, at + lengths[b])
        real[b, here] = 1
        noise = torch.Generator().manual_seed(lengths[b])
        embeddings[b, here] = torch.randn(lengths[b], WIDTH, generator=noise)
        line[0, b, here] = torch.arange(lengths[b])
        grid[:, b, at : at + front] = torch.arange(front)
        at, position, own = at + front, front, []
        for tokens, after in images:
            own.append(ImageSpan(at, at + tokens.count, tokens))
            place, takes = m_rope(tokens)
            grid[:, b, at : at + tokens.count] = position + place
            at, position = at + tokens.count, position + takes
            grid[:, b, at : at + after] = position + torch.arange(after)
            at, position = at + after, position + after
        spans.append(tuple(own))
    return Batch(rows, layout_of(tuple(spans), real, real), embeddings, line, grid)


def m_rope(tokens: ImageTokens) -> tuple[torch.Tensor, int]:
    """Ids of an image from 0, (3, N), and how many it takes up: loose, thumbnail, main grid."""
    places, start = [], 0
    for _ in range(tokens.loose):
        places.append((start,) * 3)
        start += 1
    for height, width in (tokens.thumbnail, (tokens.height, tokens.width + tokens.newlines)):
        places += [(start, start + r, start + c) for r in range(height) for c in range(width)]
        start += max(height, width)
    return torch.tensor(places).reshape(-1, 3).T, start


side = st.integers(1, 12)
tokens_of = st.builds(
    ImageTokens,
    side,
    side,
    st.one_of(st.just((0, 0)), st.tuples(st.integers(1, 6), st.integers(1, 6))),
    st.booleans(),
    st.integers(0, 2),
)
row = st.tuples(st.integers(0, 4), st.lists(st.tuples(tokens_of, st.integers(0, 3)), max_size=3))
batch = st.builds(made, st.lists(row, min_size=1, max_size=3), st.booleans())


@pytest.fixture(scope="session")
def batches() -> st.SearchStrategy[Batch]:
    """Any batch."""
    return batch


@pytest.fixture(scope="session")
def write() -> Callable[..., Batch]:
    """Makes a batch of rows: `write([(2, [(ImageTokens(3, 3), 1)])])`."""
    return made


@dataclass(frozen=True)
class Norm:
    """Text embeddings of a known mean length."""

    mean_norm: float = 2.0


@pytest.fixture(scope="session")
def embedder() -> Norm:
    """Text embeddings of mean length 2."""
    return Norm()


def _each_row_alone(method: object, batch: Batch) -> None:
    """A row in a batch must be what it is without padding and company."""
    new = method.features(batch.embeddings, batch.layout, Norm())
    layout = method.relayout(batch.layout)
    assert new.shape == batch.embeddings.shape
    assert new.dtype == batch.embeddings.dtype
    outside = batch.layout.image < 0
    assert torch.equal(new[outside], batch.embeddings[outside])
    assert torch.equal(layout.image, batch.layout.image)
    assert torch.equal(layout.kind[outside], batch.layout.kind[outside])
    for b in range(len(batch.rows)):
        alone = made([batch.rows[b]])
        one = method.features(alone.embeddings, alone.layout, Norm())
        size = alone.layout.length
        torch.testing.assert_close(new[b, batch.real(b)], one[0, -size:][alone.real(0)])
        after = method.relayout(alone.layout)
        for name in ("kind", "row", "column"):
            in_batch = getattr(layout, name)[b, batch.real(b)]
            assert torch.equal(in_batch, getattr(after, name)[0, alone.real(0)])


@pytest.fixture(scope="session")
def each_row_alone() -> Callable[[object, Batch], None]:
    """Check that rows do not see each other, and that text and padding stay."""
    return _each_row_alone
