"""Permute and Drop: the same choice everywhere, and nothing else touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.features.drop import Drop
from wheresight.interventions.features.images import draws
from wheresight.interventions.features.permute import Permute
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, layout_of


def slow_draws(seed: int, number: int, count: int) -> list[int]:
    """Eight bytes a token, little-endian, less the lowest bit."""
    stream = hashlib.shake_256(f"{seed}\0{number}\0{count}".encode()).digest(8 * count)
    return [int.from_bytes(stream[8 * n : 8 * n + 8], "little") // 2 for n in range(count)]


def numbered(tokens: ImageTokens, images: int = 1) -> tuple[torch.Tensor, object]:
    """Embeddings of one channel that hold their column."""
    spans = tuple(
        ImageSpan(n * tokens.count, (n + 1) * tokens.count, tokens) for n in range(images)
    )
    x = torch.arange(float(images * tokens.count))[None, :, None]
    return x, layout_of((spans,), None, x[..., 0])


def test_draws() -> None:
    """Written down, so that a record of today means the same tomorrow."""
    assert draws(0, 0, 3).tolist() == slow_draws(0, 0, 3) == DRAWN
    assert draws(7, 2, 20).tolist() == slow_draws(7, 2, 20)
    assert len({tuple(draws(*key)[:3].tolist()) for key in KEYS}) == len(KEYS)


DRAWN = [4486789383120896526, 9051244631894809387, 7065521404109993579]
KEYS = [(0, 0, 3), (1, 0, 3), (0, 1, 3), (0, 0, 4), (10, 0, 3), (1, 0, 30)]


def test_permute_by_hand(embedder: object) -> None:
    """The n-th place gets the token with the n-th smallest draw; newlines stay; blocks too."""
    x, layout = numbered(ImageTokens(1, 6))
    new = Permute(3).features(x, layout, embedder)[0, :, 0]
    drawn = slow_draws(3, 0, 6)
    assert new.tolist() == sorted(range(6), key=drawn.__getitem__) != list(range(6))
    # One loose token, a thumbnail at 1 and 2, rows (3, 4) and (6, 7), newlines at 5 and 8.
    x, layout = numbered(ImageTokens(2, 2, (1, 2), True, 1))
    new = Permute(1).features(x, layout, embedder)[0, :, 0].tolist()
    drawn = slow_draws(1, 0, 9)
    thumbnail = sorted([1, 2], key=drawn.__getitem__)
    main = sorted([3, 4, 6, 7], key=drawn.__getitem__)
    assert new == [0, *thumbnail, *main[:2], 5, *main[2:], 8]


def test_permute_without_a_grid(embedder: object) -> None:
    x, layout = numbered(ImageTokens(0, 0, loose=6))
    new = Permute().features(x, layout, embedder)[0, :, 0].tolist()
    assert new == sorted(range(6), key=slow_draws(0, 0, 6).__getitem__)


def test_permute_leaves_hidden_tokens(embedder: object) -> None:
    x, layout = numbered(ImageTokens(2, 3))
    after = Drop(0.5).relayout(layout)
    new = Permute().features(x, after, embedder)[0, :, 0]
    gone = after.kind[0] == Kind.HIDDEN
    assert torch.equal(new[gone], x[0, gone, 0])
    assert sorted(new[~gone].tolist()) == x[0, ~gone, 0].tolist()


def test_images_of_a_row_differ(embedder: object) -> None:
    """The second image has a permutation of its own; it does not depend on where the call began."""
    x, layout = numbered(ImageTokens(4, 4), images=2)
    new = Permute().features(x, layout, embedder)[0, :, 0]
    assert new[16:].tolist() != (new[:16] + 16).tolist()
    assert sorted(new[16:].tolist()) == list(range(16, 32))
    tail = layout.from_column(16)
    later = Permute().features(x[:, 16:], tail, embedder)[0, :, 0]
    assert torch.equal(later, new[16:])
    assert torch.equal(Drop(0.5).relayout(tail).kind, Drop(0.5).relayout(layout).kind[:, 16:])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 5))
def test_permute_moves_content_only(
    batches: st.SearchStrategy, embedder: object, data: st.DataObject, seed: int
) -> None:
    batch = data.draw(batches)
    x, layout = batch.embeddings, batch.layout
    new = Permute(seed).features(x, layout, embedder)
    moved = layout.of(Kind.PATCH, Kind.THUMBNAIL)
    assert torch.equal(new[~moved], x[~moved])
    for b, spans in enumerate(layout.images):
        for span in spans:
            here = slice(span.start, span.stop)
            for kind in (Kind.PATCH, Kind.THUMBNAIL):
                of = layout.kind[b, here] == kind
                assert sorted(new[b, here][of].tolist()) == sorted(x[b, here][of].tolist())


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0, 0.999), st.integers(0, 5))
def test_rows_are_alone(
    batches: st.SearchStrategy,
    each_row_alone: Callable,
    data: st.DataObject,
    fraction: float,
    seed: int,
) -> None:
    batch = data.draw(batches)
    each_row_alone(Permute(seed), batch)
    each_row_alone(Drop(fraction, seed), batch)


def test_drop_by_hand() -> None:
    """Of six tokens 0.4 are 2.4, that is 2; the two with the smallest draws go."""
    _, layout = numbered(ImageTokens(2, 3))
    after = Drop(0.4, 3).relayout(layout)
    drawn = slow_draws(3, 0, 6)
    gone = sorted(sorted(range(6), key=drawn.__getitem__)[:2])
    hidden = [n for n in range(6) if after.kind[0, n] == Kind.HIDDEN]
    assert hidden == gone
    for n in range(6):
        place = (-1, -1) if n in gone else (n // 3, n % 3)
        assert (int(after.row[0, n]), int(after.column[0, n])) == place
    assert after.image.tolist() == [[0] * 6]
    assert after.images == layout.images


@pytest.mark.parametrize(
    ("fraction", "count", "gone"),
    [(0.5, 3, 2), (0.49, 3, 1), (0.999, 5, 4), (0.5, 1, 0), (0.1, 4, 0), (0.15, 10, 2)],
)
def test_how_many_are_dropped(fraction: float, count: int, gone: int) -> None:
    """Halves go up; one token is always kept; 0.15 of 10 is 1.5 exactly."""
    _, layout = numbered(ImageTokens(1, count))
    after = Drop(fraction).relayout(layout)
    assert int((after.kind == Kind.HIDDEN).sum()) == gone


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0, 0.999), st.floats(0, 0.999), st.integers(0, 5))
def test_more_hides_more(
    batches: st.SearchStrategy,
    embedder: object,
    data: st.DataObject,
    one: float,
    other: float,
    seed: int,
) -> None:
    batch = data.draw(batches)
    few, many = (Drop(f, seed).relayout(batch.layout) for f in sorted((one, other)))
    for layout in (few, many):
        kept = layout.kind != Kind.HIDDEN
        for name in ("kind", "row", "column"):
            old = getattr(batch.layout, name)
            assert torch.equal(getattr(layout, name)[kept], old[kept])
        for b, spans in enumerate(layout.images):
            for span in spans:
                assert kept[b, span.start : span.stop].any()
    assert not ((few.kind == Kind.HIDDEN) & (many.kind != Kind.HIDDEN)).any()
    x = batch.embeddings
    assert Drop(one, seed).features(x, batch.layout, embedder) is x


def test_drop_of_nothing() -> None:
    _, layout = numbered(ImageTokens(2, 3))
    assert Drop(0.0).idle()
    assert Drop(0.0).relayout(layout) is layout
    assert Drop(0.5).seams() == ("features",)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Permute(-1),
        lambda: Permute(1.5),
        lambda: Drop(1.0),
        lambda: Drop(-0.1),
        lambda: Drop(float("nan")),
        lambda: Drop(0.5, -1),
    ],
)
def test_bad_parameters(make: Callable) -> None:
    with pytest.raises(SpecError, match="cannot be .*: expected a (finite|whole) number from 0"):
        make()
