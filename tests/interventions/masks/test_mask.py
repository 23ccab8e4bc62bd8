"""Masks inside images by hand, and that nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import ModelError, SpecError
from wheresight.interventions import parse
from wheresight.interventions.masks.mask import KINDS, ImageMask
from wheresight.interventions.masks.rules import by_order, inside_images
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, Layout, layout_of


def layout(length: int, *rows: list[tuple[int, ImageTokens]], left: list[int] = ()) -> Layout:
    """Rows of images (start, tokens), with so much padding in front of each."""
    spans = tuple(tuple(ImageSpan(at, at + t.count, t) for at, t in row) for row in rows)
    real = torch.ones(len(rows), length)
    for row, padding in enumerate(left):
        real[row, :padding] = 0
    return layout_of(spans, real, real)


def causal(where: Layout) -> torch.Tensor:
    """Each token sees itself and what comes before, but no padding."""
    allowed = torch.ones(where.length, where.length, dtype=torch.bool).tril()
    return allowed & (where.kind != Kind.PAD)[:, None]


def drawn(mask: torch.Tensor) -> list[str]:
    """Rows of queries, columns of keys: 1 where a key is seen."""
    return ["".join("1" if seen else "." for seen in row) for row in mask.tolist()]


def masked(kind: str, where: Layout, allowed: torch.Tensor, ids: torch.Tensor | None = None):
    ids = torch.arange(where.length).expand(1, where.batch, -1) if ids is None else ids
    return ImageMask(kind).mask(allowed, where, ids, 0)


def test_bidirectional_and_causal() -> None:
    """One text token, an image of 2 x 1, another of 1 x 2, one text token."""
    where = layout(6, [(1, ImageTokens(2, 1)), (3, ImageTokens(1, 2))])
    both = masked("bidirectional", where, causal(where))
    assert drawn(both[0]) == ["1.....", "111...", "111...", "11111.", "11111.", "111111"]
    assert torch.equal(masked("causal", where, both), causal(where))
    assert torch.equal(masked("causal", where, causal(where)), causal(where))


def test_all_tokens_of_an_image_are_in_it() -> None:
    """Loose, thumbnail and newline tokens see each other under `bidirectional`."""
    where = layout(7, [(1, ImageTokens(1, 2, (1, 1), True, 1))])
    both = masked("bidirectional", where, causal(where))
    assert drawn(both[0]) == ["1......", *["111111."] * 5, "1111111"]


def test_rings() -> None:
    """A 3 x 3 grid: eight tokens of the rim see each other, the centre sees all, the rim not it."""
    where = layout(11, [(1, ImageTokens(3, 3))])
    new = masked("ring", where, causal(where))
    rim = "11111.1111."
    assert drawn(new[0]) == ["1..........", *[rim] * 4, "1111111111.", *[rim] * 4, "1" * 11]


def test_rings_block_by_block() -> None:
    """A loose token, a thumbnail of 1 x 2, rows (3, 4) and (6, 7) of a main grid with newlines.

    Every ring is 0, so each block sees itself whole, and between blocks all is causal.
    """
    where = layout(9, [(0, ImageTokens(2, 2, (1, 2), True, 1))])
    new = masked("ring", where, causal(where))
    assert drawn(new[0]) == ["1........", *["111......"] * 2, *["1" * 9] * 6]


def test_ids() -> None:
    """A token sees those whose id is not above its own, wherever they stand."""
    where = layout(6, [(1, ImageTokens(2, 2))])
    ids = torch.tensor([[[0, 2, 1, 1, 3, 4]]])
    new = masked("ids", where, causal(where), ids)
    assert drawn(new[0]) == ["1.....", "1111..", "1.11..", "1.11..", "11111.", "111111"]


def test_ids_of_three_rows() -> None:
    """M-RoPE: neither row nor column of a key may be above those of the query."""
    where = layout(4, [(0, ImageTokens(2, 2))])
    ids = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]])[:, None]
    new = masked("ids", where, causal(where), ids)
    assert drawn(new[0]) == ["1...", "11..", "1.1.", "1111"]


def test_hidden_tokens_see_nothing_new_and_are_not_seen() -> None:
    """A 2 x 1 grid with a hidden token behind it, which is masked already."""
    where = layout(5, [(1, ImageTokens(2, 1, hidden=1))])
    allowed = causal(where) & (where.kind != Kind.HIDDEN)[:, None]
    for kind in ("bidirectional", "ring"):
        new = masked(kind, where, allowed)
        assert drawn(new[0]) == ["1....", "111..", "111..", "111..", "111.1"]
    for kind in ("causal", "ids"):
        assert torch.equal(masked(kind, where, allowed), allowed)


def test_rules() -> None:
    """`by_order` for the last queries only; `inside_images` for them too."""
    where = layout(4, [(1, ImageTokens(1, 3))])
    order = torch.tensor([[0, 5, 5.5, 5]])
    allowed = torch.zeros(1, 2, 4, dtype=torch.bool)
    assert drawn(by_order(allowed, where, order)[0]) == [".111", ".1.1"]
    assert drawn(inside_images(where, 3)[0]) == [".111"] * 3
    assert drawn(inside_images(where, 4)[0]) == ["....", *[".111"] * 3]


# A row: padding, text in front, then images, each followed by text.
tokens = st.builds(
    ImageTokens,
    st.integers(1, 12),
    st.integers(1, 12),
    st.one_of(st.just((0, 0)), st.tuples(st.integers(1, 4), st.integers(1, 4))),
    st.booleans(),
    st.integers(0, 2),
)
row = st.tuples(
    st.integers(0, 4), st.lists(st.tuples(tokens, st.integers(0, 3)), max_size=2), st.integers(0, 9)
)


def written(rows: list) -> Layout:
    lengths = [front + sum(t.count + after for t, after in images) for front, images, _ in rows]
    width = max(*lengths, 1) + rows[0][2]
    found = []
    for (front, images, _), length in zip(rows, lengths, strict=True):
        at, own = width - length + front, []
        for t, after in images:
            own.append((at, t))
            at += t.count + after
        found.append(own)
    return layout(width, *found, left=[width - length for length in lengths])


@settings(max_examples=60, deadline=None)
@given(st.lists(row, min_size=1, max_size=3), st.sampled_from(KINDS), st.data())
def test_properties(rows: list, kind: str, data: st.DataObject) -> None:
    where = written(rows)
    old = causal(where)
    noise = torch.Generator().manual_seed(where.length)
    ids = torch.randint(
        0, 9, (data.draw(st.sampled_from([1, 3])), *where.kind.shape), generator=noise
    )
    new = masked(kind, where, old, ids)
    assert new.dtype == torch.bool and new.shape == old.shape
    same = inside_images(where, where.length)
    # Outside of images all is as it was; inside, everyone sees itself.
    assert torch.equal(new[~same], old[~same])
    image = where.image >= 0
    assert new.diagonal(dim1=1, dim2=2)[image].all()
    # The last queries alone, as in a cached call.
    queries = data.draw(st.integers(1, where.length))
    assert torch.equal(masked(kind, where, old[:, -queries:], ids), new[:, -queries:])
    # Once is enough, and rows do not see each other.
    assert torch.equal(masked(kind, where, new, ids), new)
    for b in range(where.batch):
        alone = where.take(torch.tensor([b]))
        assert torch.equal(masked(kind, alone, old[b : b + 1], ids[:, b : b + 1]), new[b : b + 1])
    _inside(kind, where, new, ids)


def _inside(kind: str, where: Layout, new: torch.Tensor, ids: torch.Tensor) -> None:
    """What queries see inside their images, written out image by image."""
    for b, spans in enumerate(where.images):
        for span in spans:
            t, here = span.tokens, slice(span.start, span.stop)
            got = new[b, here, here]
            want = torch.ones(t.count, t.count, dtype=torch.bool)
            if kind != "bidirectional":
                want = want.tril()
            if kind in ("ring", "ids"):
                small = t.thumbnail[0] * t.thumbnail[1]
                for start, (h, w), wide in (
                    (t.loose, t.thumbnail, t.thumbnail[1]),
                    (t.loose + small, (t.height, t.width), t.width + t.newlines),
                ):
                    block = slice(start, start + h * wide)
                    r = torch.arange(h)[:, None].expand(h, wide).flatten()
                    c = torch.arange(wide).clamp_max(w - 1).expand(h, wide).flatten()
                    ring = torch.stack([r, h - 1 - r, c, w - 1 - c]).amin(0)[None]
                    order = ring if kind == "ring" else ids[:, b, here][:, block]
                    sees = order[:, None, :] <= order[:, :, None]
                    want[block, block] = sees.all(0)
            assert torch.equal(got, want)


@settings(max_examples=30, deadline=None)
@given(st.lists(row, min_size=1, max_size=3))
def test_ids_of_a_raster_are_causal_and_equal_ids_are_bidirectional(rows: list) -> None:
    where = written(rows)
    old = causal(where)
    assert torch.equal(masked("ids", where, old), masked("causal", where, old))
    equal = torch.zeros(1, *where.kind.shape, dtype=torch.long)
    if all(t.loose == 0 == t.thumbnail[0] for _, images, _ in rows for t, _ in images):
        both = masked("bidirectional", where, old)
        assert torch.equal(masked("ids", where, old, equal), both)


def test_unknown_grids() -> None:
    """Rings and ids need grids; who is in which image does not."""
    where = layout(5, [(1, ImageTokens(0, 0, loose=4))])
    for kind in ("ring", "ids"):
        with pytest.raises(ModelError, match="grid of an image of 4 tokens is not known"):
            masked(kind, where, causal(where))
    both = masked("bidirectional", where, causal(where))
    assert drawn(both[0]) == ["1....", *["11111"] * 4]


def test_parameters() -> None:
    (mask,) = parse("mask:ring,layers=0-3")
    assert str(mask) == "mask:ring,layers=0-3"
    assert [mask.layer_key(layer) for layer in (0, 3, 4)] == [True, True, None]
    assert mask.seams() == ("mask",)
    assert [ImageMask(kind).whole_images for kind in KINDS] == [False, True, True, True]
    with pytest.raises(SpecError, match="kind of 'mask' cannot be 'rings': expected causal, bid"):
        parse("mask:rings")
    with pytest.raises(SpecError, match="needs kind: write mask:kind="):
        parse("mask")
