"""Blocks of images and ids given out block by block, by hand and for any prompt."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import ModelError
from wheresight.interventions.geometry import (
    arrange,
    blocks_of,
    bounds,
    grids_of,
    per_image,
    shown,
    taken_from,
)
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, Layout, layout_of


def layout(length: int, *rows: list[tuple[int, ImageTokens]]) -> Layout:
    """Rows of images (start, tokens)."""
    spans = tuple(
        tuple(ImageSpan(start, start + tokens.count, tokens) for start, tokens in row)
        for row in rows
    )
    return layout_of(spans, None, torch.zeros(len(rows), length))


PACKED = ImageTokens(2, 2, thumbnail=(1, 2), newlines=True, loose=1, hidden=2)


def test_blocks_by_hand() -> None:
    """A class token, a thumbnail of 1 x 2, a grid of 2 x 2 with newlines, two hidden tokens."""
    blocks = blocks_of(layout(13, [(1, PACKED)]))
    assert blocks.most == 3
    assert blocks.number.tolist() == [[-1, 0, 1, 1, 2, 2, 2, 2, 2, 2, -1, -1, -1]]
    assert blocks.owner.tolist() == [[-1, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, -1]]
    assert blocks.row.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]]
    assert blocks.column.tolist() == [[0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 0, 0]]
    assert blocks.height.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1]]
    assert blocks.width.tolist() == [[1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]]
    assert blocks.inside.tolist() == [[False, *[True] * 9, False, False, False]]
    assert blocks.per_block(blocks.height * 10 + blocks.width).tolist() == [[11, 12, 22]]


def test_rows_of_a_batch_count_their_own_blocks() -> None:
    one, two = ImageTokens(1, 2), ImageTokens(1, 1, thumbnail=(1, 1))
    blocks = blocks_of(layout(5, [(0, one), (3, two)], [(1, two), (3, one)], []))
    assert blocks.most == 3
    assert blocks.number.tolist() == [
        [0, 0, -1, 1, 2],
        [-1, 0, 1, 2, 2],
        [-1] * 5,
    ]
    assert blocks.per_block(blocks.width).tolist() == [[2, 1, 1], [1, 1, 2], [0, 0, 0]]


def test_a_token_hidden_by_its_kind() -> None:
    """It is in no block for who arranges, but takes up ids of the one it was in."""
    where = layout(3, [(0, ImageTokens(1, 3))])
    kind = where.kind.clone()
    kind[0, 1] = Kind.HIDDEN
    hidden = Layout(kind, where.image, where.row, where.column, where.images)
    blocks = blocks_of(hidden)
    assert blocks.number.tolist() == [[0, -1, 0]]
    assert blocks.owner.tolist() == [[0, 0, 0]]


def test_an_image_that_is_hidden_whole() -> None:
    where = layout(6, [(1, ImageTokens(0, 0, hidden=2)), (4, ImageTokens(1, 1))])
    blocks = blocks_of(where)
    assert blocks.owner.tolist() == [[-1, -1, -1, -1, 0, -1]]
    assert blocks.most == 1


def test_a_cut_image_keeps_its_grid() -> None:
    blocks = blocks_of(layout(8, [(1, ImageTokens(3, 2))]).cut(5))
    assert blocks.number.tolist() == [[-1, 0, 0, 0, 0]]
    assert blocks.row.tolist() == [[0, 0, 0, 1, 1]]
    assert blocks.height.tolist() == [[1, 3, 3, 3, 3]]


def test_rings_and_rims() -> None:
    blocks = blocks_of(layout(15, [(0, ImageTokens(3, 5))]))
    assert blocks.ring[0].tolist() == [0] * 5 + [0, 1, 1, 1, 0] + [0] * 5
    rows, columns = blocks.from_rim
    assert rows[0].tolist() == [0] * 5 + [1] * 5 + [0] * 5
    assert columns[0].tolist() == [0, 1, 2, 1, 0] * 3
    assert (blocks.rings == 2).all()


def test_unknown_grids_are_refused() -> None:
    with pytest.raises(ModelError, match="image of 4 tokens is not known"):
        blocks_of(layout(5, [(0, ImageTokens(0, 0, loose=4))]))
    assert blocks_of(layout(5, [(0, ImageTokens(0, 0, loose=1))])).most == 1


def test_arrange_by_hand() -> None:
    """Blocks of three and two tokens that shall take up one id and four."""
    number = torch.tensor([[-1, 0, 0, 0, 1, 1, -1, -1]])
    takes = torch.tensor([[1, 4]])
    offset = torch.tensor([0, 0, 0, 0, 0, 3, 9, 9])
    new = arrange(torch.arange(8)[None, None], number, 2, offset[None, None], takes)
    assert new.tolist() == [[[0, 1, 1, 1, 2, 5, 6, 7]]]


def test_arrange_reads_what_a_block_takes_up() -> None:
    """Six tokens that take up three ids, as 2 x 3 does under M-RoPE; rows may be added."""
    t = [0, 1, 1, 1, 1, 1, 1, 4]
    h = [0, 1, 1, 1, 2, 2, 2, 4]
    w = [0, 1, 2, 3, 1, 2, 3, 4]
    number = torch.tensor([[-1, *[0] * 6, -1]])
    one = torch.ones(1, 1, dtype=torch.long)
    new = arrange(torch.tensor([t, h, w])[:, None], number, 1, one * 0, one)
    assert new[:, 0].tolist() == [[0, *[1] * 6, 2]] * 3
    two = torch.stack([torch.zeros(1, 8), torch.arange(8)[None] / 4])
    made = arrange(torch.arange(8)[None, None], number, 1, two, one * 6)
    assert made[:, 0].tolist() == [[0, *[1] * 6, 7], [0, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 7]]


def test_hidden_tokens_take_up_nothing() -> None:
    """Text behind a pooled image follows what is left of it."""
    where = layout(7, [(1, ImageTokens(1, 2, hidden=3))])
    blocks = blocks_of(where)
    ids = torch.arange(7)[None, None]
    new = arrange(ids, blocks.owner, 1, blocks.column[None], blocks.per_block(blocks.width))
    assert new[0, 0, [0, 1, 2, 6]].tolist() == [0, 1, 2, 3]


def test_bounds_by_hand() -> None:
    ids = torch.tensor([[[0, 4, 3, 9]], [[0, 5, 4, 9]], [[0, 3, 2, 9]]])
    first, last = bounds(ids, torch.tensor([[-1, 0, 0, -1]]), 2)
    assert first.tolist() == [[2, 0, 0]]
    assert last.tolist() == [[5, 0, 9]]


def test_images_by_hand() -> None:
    tokens = ImageTokens(1, 2, hidden=1)
    where = layout(6, [(0, tokens), (3, tokens)], [(2, ImageTokens(2, 2))])
    assert per_image(where, lambda span: span.start).tolist() == [[0, 3], [2, 0]]
    assert [[shown(span) for span in spans] for spans in where.images] == [[2, 2], [4]]
    assert shown(ImageSpan(0, 1, tokens)) == 1
    turned = taken_from(where, lambda n, span: torch.arange(shown(span)).flip(0))
    assert turned.tolist() == [[1, 0, 2, 4, 3, 5], [0, 1, 5, 4, 3, 2]]
    assert grids_of(layout(30, [(0, PACKED), (12, PACKED)], [(0, tokens)])) == [(1, 2), (2, 2)]


side = st.integers(1, 12)
tokens = st.builds(
    ImageTokens,
    side,
    side,
    thumbnail=st.just((0, 0)) | st.tuples(side, side),
    newlines=st.booleans(),
    loose=st.integers(0, 2),
    hidden=st.integers(0, 3),
)
prompt = st.lists(st.tuples(st.integers(0, 3), tokens), max_size=3)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(prompt, min_size=1, max_size=3))
def test_blocks_of_any_batch(rows: list[list[tuple[int, ImageTokens]]]) -> None:
    """Each token's block, place and size, counted out one by one; rows do not meet."""
    places = []
    for row in rows:
        at, own = 0, []
        for before, image in row:
            own.append((at + before, image))
            at += before + image.count
        places.append(own)
    length = max([1, *(start + image.count for own in places for start, image in own)])
    blocks = blocks_of(layout(length, *places))
    for b, own in enumerate(places):
        want = [(-1, -1, 0, 0, 1, 1)] * length
        block = 0
        for start, image in own:
            listed = [(block + n, 0, 0, 1, 1) for n in range(image.loose)]
            block += image.loose
            for (height, width), nl in ((image.thumbnail, False), (image_grid(image))):
                for r in range(height):
                    row_ = [(block, r, c, height, width) for c in range(width)]
                    listed += row_ + [row_[-1]] * nl
                block += height * width > 0
            for n, (number, *rest) in enumerate(listed):
                want[start + n] = (number, number, *rest)
            for n in range(image.hidden):
                want[start + len(listed) + n] = (-1, block - 1, 0, 0, 1, 1)
        fields = ("number", "owner", "row", "column", "height", "width")
        got = zip(*(getattr(blocks, name)[b].tolist() for name in fields), strict=True)
        assert list(got) == want


def image_grid(image: ImageTokens) -> tuple[tuple[int, int], bool]:
    return (image.height, image.width), image.newlines
