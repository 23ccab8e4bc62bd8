"""What every position method promises for any prompt."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wheresight.interventions.base import Intervention
from wheresight.interventions.host import Host
from wheresight.interventions.spec import parse
from wheresight.lvlm.layout import ImageTokens, Kind, Layout

LINE = [
    "bapa_far",
    "v2pe",
    "v2pe:span=6.5",
    "cca",
    "mca",
    "pype:jump=2",
    "shuffle:seed=3",
    "reverse",
    "id_align",
    "mrope_on_1d",
    "mrope_on_1d:split=halves",
]
M_ROPE = [
    "bapa_far",
    "v2pe:span=2.0",
    "cca",
    "mca",
    "pype:jump=2",
    "shuffle:seed=3",
    "reverse",
    "spatial_reset",
    "videorope",
    "circle",
    "circle:radius=3.0,alpha=1.0",
]
CASES = [*((spec, False) for spec in LINE), *((spec, True) for spec in M_ROPE)]
every = pytest.mark.parametrize(("spec", "m_rope"), CASES)
quick = settings(max_examples=25, deadline=None)


def method(spec: str) -> Intervention:
    (found,) = parse(spec)
    return found


def stretches(layout: Layout, row: int) -> list[tuple[int, int, bool]]:
    """Start, stop (excluded) and whether it is an image, of each stretch of a row."""
    found: list[tuple[int, int, bool]] = []
    at = int((layout.kind[row] == Kind.PAD).sum()) if layout.kind[row, 0] == Kind.PAD else 0
    end = layout.length
    while end > at and layout.kind[row, end - 1] == Kind.PAD:
        end -= 1
    for span in layout.images[row]:
        if span.start > at:
            found.append((at, span.start, False))
        found.append((span.start, span.stop, True))
        at = span.stop
    if end > at:
        found.append((at, end, False))
    return found


@every
@quick
@given(data=st.data())
def test_text_counts_on(spec: str, m_rope: bool, prompts: Any, data: st.DataObject) -> None:
    """By one in each stretch; unchanged before the first image; all rows of a text token equal."""
    left = data.draw(st.booleans())
    rows = data.draw(prompts.rows(packed=not m_rope))
    old, layout = prompts.written(rows, m_rope=m_rope, left=left)
    new = method(spec).positions(old, layout, 5)
    assert new.shape[1:] == old.shape[1:]
    assert new.shape[0] == (2 if spec.startswith("mrope_on_1d") else old.shape[0])
    for b in range(len(rows)):
        for n, (start, stop, image) in enumerate(stretches(layout, b)):
            if image:
                continue
            text = new[:, b, start:stop]
            assert torch.equal(text, text[:1].expand_as(text))
            steps = text.double().diff()
            torch.testing.assert_close(steps, torch.ones_like(steps), rtol=0, atol=1e-5)
            assert text.is_floating_point() or (steps == 1).all()
            if n == 0:
                assert torch.equal(text, old[:1, b, start:stop].expand_as(text).to(text))


@every
@quick
@given(data=st.data())
def test_text_follows_the_image(spec: str, m_rope: bool, prompts: Any, data: st.DataObject) -> None:
    """At the largest id of the image plus one, unless the method says otherwise."""
    rows = data.draw(prompts.rows(packed=not m_rope))
    old, layout = prompts.written(rows, m_rope=m_rope)
    new = method(spec).positions(old, layout, 5)
    for b in range(len(rows)):
        parts = stretches(layout, b)
        for before, image, after in zip(parts, parts[1:], parts[2:], strict=False):
            if before[2] or not image[2] or after[2]:
                continue
            begin = float(new[0, b, before[1] - 1]) + 1
            span = next(s for s in layout.images[b] if s.start == image[0])
            ids = new[:, b, image[0] : image[1]]
            largest = float(ids.amax()) + 1
            want = {
                "v2pe": begin + math.ceil(getattr(method(spec), "span", 0)),
                "spatial_reset": begin + max(span.tokens.height, span.tokens.width),
                "videorope": begin + 1,
            }.get(method(spec).name, largest)
            if method(spec).name == "mrope_on_1d":
                tokens = span.tokens
                sides = (tokens.height, tokens.width)
                want = begin + tokens.loose + max(tokens.thumbnail) + max(sides)
            assert float(new[0, b, after[0]]) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize(("spec", "m_rope"), [c for c in CASES if c[0] != "bapa_far"])
def test_hidden_tokens_are_as_if_not_there(spec: str, m_rope: bool, prompts: Any) -> None:
    """What is left of an image, and the text behind it, is as in a prompt of that alone.

    But for methods that move no text: there the ids of what was taken away stay empty.
    """
    shown = ImageTokens(2, 3) if m_rope else ImageTokens(2, 3, thumbnail=(1, 2), newlines=True)
    hidden = dataclasses.replace(shown, hidden=5)
    small, own = prompts.one(2, shown, after=3, m_rope=m_rope)
    large, layout = prompts.one(2, hidden, after=3, m_rope=m_rope)
    chosen = method(spec)
    left = layout.kind[0] != Kind.HIDDEN
    new = chosen.positions(large, layout, 0)[..., left]
    want = chosen.positions(small, own, 0)
    if not chosen.assigns:
        new, want = new[..., :-3], want[..., :-3]
    assert torch.equal(new, want)


@every
@quick
@given(data=st.data())
def test_rows_are_alone(spec: str, m_rope: bool, prompts: Any, data: st.DataObject) -> None:
    rows = data.draw(prompts.rows(packed=not m_rope))
    old, layout = prompts.written(rows, m_rope=m_rope)
    new = method(spec).positions(old, layout, 3)
    for b, row in enumerate(rows):
        width = layout.length
        alone, own = prompts.written([row], m_rope=m_rope)
        if own.most_images == 0:
            assert torch.equal(new[:, b], old[:, b].expand_as(new[:, b]).to(new))
            continue
        part = method(spec).positions(alone, own, 3)
        assert torch.equal(part[:, 0], new[:, b, width - own.length :])
        # And as part of the very batch.
        taken = layout.take(torch.tensor([b]))
        assert torch.equal(method(spec).positions(old[:, b : b + 1], taken, 3)[:, 0], new[:, b])


@every
@quick
@given(data=st.data())
def test_only_differences_count(spec: str, m_rope: bool, prompts: Any, data: st.DataObject) -> None:
    old, layout = prompts.written(data.draw(prompts.rows(packed=not m_rope)), m_rope=m_rope)
    base = method(spec).positions(old, layout, 3)
    moved = method(spec).positions(old + 64, layout, 3)
    if base.is_floating_point():
        torch.testing.assert_close(moved, base + 64, rtol=0, atol=1e-3)
    else:
        assert torch.equal(moved, base + 64)


@every
@quick
@given(data=st.data())
def test_a_prefix_needs_no_future(
    spec: str, m_rope: bool, prompts: Any, data: st.DataObject
) -> None:
    """Chunks and decode steps may trust what was given out; a method that cannot says so."""
    old, layout = prompts.written(data.draw(prompts.rows(packed=not m_rope)), m_rope=m_rope)
    length = data.draw(st.integers(1, layout.length))
    head = layout.cut(length)
    assume(head.most_images > 0)
    chosen = method(spec)
    cut = any(not span.complete for spans in head.images for span in spans)
    part = chosen.positions(old[..., :length], head, 3)
    assert part.shape[-1] == length
    if not (cut and chosen.name in ("bapa_far", "shuffle", "reverse")):
        assert torch.equal(part, chosen.positions(old, layout, 3)[..., :length])
    else:
        assert chosen.whole_images


@every
def test_integers_stay_integers(spec: str, m_rope: bool, prompts: Any) -> None:
    rows = [(2, [(ImageTokens(3, 4), 2)])]
    old, layout = prompts.written(rows, m_rope=m_rope)
    new = method(spec).positions(old, layout, 0)
    fractions = spec.startswith(("v2pe", "circle"))
    assert new.dtype == (torch.float32 if fractions else torch.int64)
    wide = method(spec).positions(old.double(), layout, 0)
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide, new.double(), rtol=0, atol=1e-5)


@every
def test_any_device_and_no_look_at_values(spec: str, m_rope: bool, prompts: Any) -> None:
    """Tensors without values refuse to be read, or to meet those of another device."""
    images = [(ImageTokens(3, 4), 2), (ImageTokens(2, 5), 1)]
    if not m_rope:
        images.append((ImageTokens(2, 2, thumbnail=(1, 3), newlines=True, loose=1), 1))
    old, layout = prompts.written([(2, images), (0, images[:1])], m_rope=m_rope)
    real = method(spec).positions(old, layout, 0)
    meta = torch.device("meta")
    new = method(spec).positions(old.to(meta), layout.to(meta), 0)
    assert (new.shape, new.dtype, new.device) == (real.shape, real.dtype, meta)
    allowed = prompts.causal(layout)
    mask = method(spec).mask(allowed.to(meta), layout.to(meta), new, 0)
    assert (mask.shape, mask.dtype) == (allowed.shape, torch.bool)


@pytest.mark.parametrize("spec", sorted({spec for spec, _ in CASES}))
def test_layers_and_spelling(spec: str) -> None:
    assert str(method(spec)) == spec
    joined = spec + ("," if ":" in spec else ":") + "layers=4-5"
    chosen = method(joined)
    assert str(chosen) == joined
    assert [chosen.layer_key(layer) is None for layer in range(3, 7)] == [True, False, False, True]
    host = Host("any", rotary_rows=3, layers=5)
    small = Host("any", thumbnails=True, layers=5)
    refused = [chosen.refuses(host), chosen.refuses(small)]
    assert "It names layer 5, but the model's layers are 0 to 4." in refused


@pytest.mark.parametrize("name", ["spatial_reset", "videorope", "circle"])
def test_methods_of_m_rope_refuse_a_line(name: str) -> None:
    assert "one rotary id a token" in (method(name).refuses(Host("line")) or "")
    assert method(name).refuses(Host("three", rotary_rows=3)) is None


def test_others_refuse_what_they_cannot_use() -> None:
    assert "has M-RoPE already" in (method("mrope_on_1d").refuses(Host("q", rotary_rows=3)) or "")
    assert "no thumbnail" in (method("id_align").refuses(Host("line")) or "")
    assert method("id_align").refuses(Host("next", thumbnails=True)) is None
    for name in ("bapa_far", "v2pe", "cca", "mca", "pype:jump=1", "shuffle", "reverse"):
        assert method(name).refuses(Host("line")) is None
        assert method(name).refuses(Host("three", rotary_rows=3)) is None


def test_text_moves_as_one() -> None:
    """So a decode step may add a constant; and none of them is idle."""
    for spec, _ in CASES:
        assert method(spec).text_moves_rigidly
        assert not method(spec).idle()
