"""BaPA's ids by hand, and what they promise for any prompt."""

from __future__ import annotations

import functools

import torch
from hypothesis import given
from hypothesis import strategies as st

from wheresight.interventions.host import Host
from wheresight.interventions.positions.bapa import BaPA
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Layout, layout_of

bapa = functools.partial(BaPA().positions, layer=0)


def layout(length: int, *rows: list[tuple[int, int]]) -> Layout:
    """Rows of images (start, stop)."""
    spans = tuple(
        tuple(ImageSpan(start, stop, ImageTokens(1, stop - start)) for start, stop in row)
        for row in rows
    )
    return layout_of(spans, None, torch.zeros(len(rows), length))


def test_one_image() -> None:
    """Two prefix tokens, four of an image, three of a question: eq. 3 and 4."""
    ids = bapa(torch.arange(9)[None, None], layout(9, [(2, 6)]))
    assert ids.tolist() == [[[0, 1, 2, 2, 2, 2, 3, 4, 5]]]


def test_rows_are_alone() -> None:
    """One image, two, adjacent ones, none; padding has the ids that generate gives it."""
    old = torch.tensor([[*range(8)], [*range(8)], [*range(8)], [0, 0, 0, *range(5)]])[None]
    ids = bapa(old, layout(8, [(0, 3)], [(1, 3), (4, 6)], [(1, 3), (3, 6)], []))
    assert ids[0].tolist() == [
        [0, 0, 0, 1, 2, 3, 4, 5],
        [0, 1, 1, 2, 3, 3, 4, 5],
        [0, 1, 1, 2, 2, 2, 3, 4],
        [0, 0, 0, 0, 1, 2, 3, 4],
    ]


def test_m_rope_two_images() -> None:
    """LLM grids of 2 x 3 and 4 x 2: the example worked out in the research notes."""
    t = [0, 1, 2, *[3] * 6, 6, 7, 8, *[9] * 8, 13, 14]
    h = [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 14]
    w = [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9, 10, 9, 10, 9, 10, 9, 10, 13, 14]
    ids = bapa(torch.tensor([t, h, w])[:, None], layout(22, [(3, 9), (12, 20)]))
    want = [0, 1, 2, *[3] * 6, 4, 5, 6, *[7] * 8, 8, 9]
    assert ids[:, 0].tolist() == [want] * 3


def test_ids_may_start_anywhere_and_be_fractions() -> None:
    at_five = bapa(torch.arange(5, 11)[None, None], layout(6, [(1, 4)]))
    assert at_five.tolist() == [[[5, 6, 6, 6, 7, 8]]]
    halves = torch.tensor([[[0, 1, 1.5, 2, 3]]])
    assert bapa(halves, layout(5, [(1, 4)])).tolist() == [[[0, 1, 1, 1, 2]]]


def test_an_image_cut_by_the_end() -> None:
    ids = bapa(torch.arange(5)[None, None], layout(5, [(2, 5)]))
    assert ids.tolist() == [[[0, 1, 2, 2, 2]]]


# A row: text in front, then images, each followed by text (none between adjacent images).
row = st.tuples(
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 4)), max_size=4),
)


def written(rows: list[tuple[int, list[tuple[int, int, int]]]], left: bool, m_rope: bool) -> tuple:
    """Stock ids (R, B, T) and layout of padded rows."""
    lengths = [front + sum(h * w + after for h, w, after in images) for front, images in rows]
    width = max(*lengths, 1)
    ids = torch.zeros(3 if m_rope else 1, len(rows), width, dtype=torch.long)
    spans, real = [], torch.zeros(len(rows), width)
    for b, (front, images) in enumerate(rows):
        at = width - lengths[b] if left else 0
        real[b, at : at + lengths[b]] = 1
        position, own = 0, []

        def text(count: int, b: int = b) -> None:
            nonlocal at, position
            ids[:, b, at : at + count] = position + torch.arange(count)
            at, position = at + count, position + count

        text(front)
        for h, w, after in images:
            own.append(ImageSpan(at, at + h * w, ImageTokens(h, w)))
            if m_rope:
                grid = torch.cartesian_prod(torch.arange(h), torch.arange(w)).T
                ids[0, b, at : at + h * w] = position
                ids[1:, b, at : at + h * w] = position + grid.reshape(2, -1)
                at, position = at + h * w, position + max(h, w)
            else:
                text(h * w)
            text(after)
        spans.append(tuple(own))
    return ids, layout_of(tuple(spans), real, real)


@given(st.lists(row, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_properties(rows: list, left: bool, m_rope: bool) -> None:
    old, where = written(rows, left, m_rope)
    new = bapa(old, where) if where.most_images else old
    assert new.shape == old.shape
    assert new.dtype == old.dtype
    for b, (_front, images) in enumerate(rows):
        real = where.kind[b] != 0
        ids, image = new[:, b, real], where.image[b, real]
        # All rows are equal: an image has no row and no column any more.
        assert torch.equal(ids, ids[:1].expand_as(ids))
        # Counted up: by one at each text token and at each image's first token, never else.
        first = torch.ones_like(image, dtype=torch.bool)
        first[1:] = (image[1:] < 0) | (image[1:] != image[:-1])
        assert torch.equal(ids[0], first.cumsum(0) - 1)
        # Each image shortens what follows by what it took up, less one.
        saved = sum(max(h, w) - 1 if m_rope else h * w - 1 for h, w, _ in images)
        if images and images[-1][2]:
            assert (old[0, b, real] - ids[0])[-1] == saved
        assert torch.equal(new[:, b][:, ~real], old[:, b][:, ~real]) or not left


@given(st.lists(row, min_size=1, max_size=3), st.booleans())
def test_bapa_of_bapa_is_bapa(rows: list, m_rope: bool) -> None:
    old, where = written(rows, True, m_rope)
    if where.most_images:
        once = bapa(old, where)
        assert torch.equal(bapa(once, where), once)


@given(st.lists(row, min_size=2, max_size=4), st.booleans(), st.randoms())
def test_rows_may_be_permuted(rows: list, m_rope: bool, random: object) -> None:
    old, where = written(rows, True, m_rope)
    if where.most_images == 0:
        return
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    index = torch.tensor(order)
    assert torch.equal(bapa(old[:, index], where.take(index)), bapa(old, where)[:, index])


@given(st.lists(row, min_size=1, max_size=3), st.booleans(), st.integers(1, 20))
def test_a_prefix_needs_no_future(rows: list, m_rope: bool, length: int) -> None:
    """What a token gets does not depend on later tokens: chunks and decode steps may trust it."""
    old, where = written(rows, True, m_rope)
    head = where.cut(length)
    if head.most_images == 0:
        return
    part = bapa(old[..., :length], head)
    assert torch.equal(part, bapa(old, where)[..., :length])


def test_text_only_keeps_rows_and_columns() -> None:
    """One image of 2 x 3 at id 1 under M-RoPE: it stays, and text goes on at 2 instead of 4."""
    layout = layout_of(((ImageSpan(1, 7, ImageTokens(2, 3)),),), None, torch.zeros(1, 9))
    old = torch.tensor(
        [
            [[0, 1, 1, 1, 1, 1, 1, 4, 5]],
            [[0, 1, 1, 1, 2, 2, 2, 4, 5]],
            [[0, 1, 2, 3, 1, 2, 3, 4, 5]],
        ]
    )
    new = BaPA(text_only=True).positions(old, layout, 0)
    assert torch.equal(new[..., :7], old[..., :7])
    assert new[..., 7:].tolist() == [[[2, 3]]] * 3


def test_text_only_is_refused_on_a_line() -> None:
    assert BaPA().refuses(Host("any")) is None
    assert "M-RoPE" in (BaPA(text_only=True).refuses(Host("any")) or "")
    assert BaPA(text_only=True).refuses(Host("any", rotary_rows=3)) is None
