"""Lengths by hand in each mode, and what is never changed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions import parse
from wheresight.interventions.features.normalize import Normalize
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, Layout, layout_of


def pair(first: list[float], second: list[float]) -> tuple[torch.Tensor, Layout]:
    """One text token, an image of 1 x 2, one text token."""
    text = [9.0] * len(first)
    spans = ((ImageSpan(1, 3, ImageTokens(1, 2)),),)
    return torch.tensor([[text, first, second, text]]), layout_of(spans, None, torch.zeros(1, 4))


def image(method: Normalize, x: torch.Tensor, layout: Layout, embedder: object) -> list:
    new = method.features(x, layout, embedder)
    assert torch.equal(new[:, [0, 3]], x[:, [0, 3]])
    return new[0, 1:3].tolist()


def test_paper_by_hand(embedder: object) -> None:
    """(3, 4, 0, 0): rms 2.5, so length 2 is cut to 1.22, and 0.83 of it is 1.0126."""
    x, layout = pair([3, 4, 0, 0], [0, 0, 0, -0.5])
    first, second = image(Normalize(), x, layout, embedder)
    assert first == pytest.approx([0.6 * 1.0126, 0.8 * 1.0126, 0, 0], abs=1e-6)
    assert second == pytest.approx([0, 0, 0, -1.0126], abs=1e-6)


def test_paper_where_the_cut_does_not_act(embedder: object) -> None:
    """With one channel the length after the norm is 1, below 1.22: 0.83 is left."""
    x, layout = pair([5], [-2])
    first, second = image(Normalize(), x, layout, embedder)
    assert (first, second) == (pytest.approx([0.83]), pytest.approx([-0.83]))


def test_paper_epsilon(embedder: object) -> None:
    """A token of rms 1e-3 is as large as epsilon allows: it is divided by sqrt(2e-6)."""
    x, layout = pair([1e-3], [0])
    first, second = image(Normalize(), x, layout, embedder)
    assert first == pytest.approx([0.83 * 2**-0.5], rel=1e-5)
    assert second == [0]


def test_text_mean_and_strength_by_hand(embedder: object) -> None:
    """Lengths 5 and 10 to a text length of 2; half way is the geometric mean."""
    x, layout = pair([3, 4], [0, 10])
    assert image(Normalize("text_mean"), x, layout, embedder) == [
        pytest.approx([1.2, 1.6]),
        pytest.approx([0, 2]),
    ]
    assert image(Normalize("text_mean", 0.5), x, layout, embedder) == [
        pytest.approx([0.6 * 10**0.5, 0.8 * 10**0.5]),
        pytest.approx([0, 20**0.5]),
    ]


def test_global_by_hand(embedder: object) -> None:
    """Lengths 5 and 15 have mean 10: all times a fifth."""
    x, layout = pair([3, 4], [0, 15])
    assert image(Normalize("global"), x, layout, embedder) == [
        pytest.approx([0.6, 0.8]),
        pytest.approx([0, 3]),
    ]
    x, layout = pair([0, 0], [0, 0])
    assert image(Normalize("global"), x, layout, embedder) == [[0, 0], [0, 0]]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["paper", "text_mean", "global"]), st.sampled_from([0.3, 1.0]))
def test_properties(
    batches: st.SearchStrategy, embedder: object, data: st.DataObject, mode: str, strength: float
) -> None:
    batch = data.draw(batches)
    x, layout, method = batch.embeddings, batch.layout, Normalize(mode, strength)
    new = method.features(x, layout, embedder)
    changed = layout.of(Kind.PATCH, Kind.THUMBNAIL, Kind.LOOSE)
    assert torch.equal(new[~changed], x[~changed])
    old, now = x[changed].norm(dim=-1), new[changed].norm(dim=-1)
    # Directions stay.
    torch.testing.assert_close(new[changed] * old[:, None], x[changed] * now[:, None])
    if mode != "global":
        goal = {"paper": 0.83 * 1.22, "text_mean": 2.0}[mode]
        torch.testing.assert_close(now, old ** (1 - strength) * goal**strength)
        return
    for b, spans in enumerate(layout.images):
        for span in spans:
            of = changed[b, span.start : span.stop]
            was = x[b, span.start : span.stop][of].norm(dim=-1)
            has = new[b, span.start : span.stop][of].norm(dim=-1)
            torch.testing.assert_close(has, was * (2.0 / was.mean()) ** strength)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["paper", "text_mean", "global"]))
def test_rows_are_alone(
    batches: st.SearchStrategy, each_row_alone: object, data: st.DataObject, mode: str
) -> None:
    each_row_alone(Normalize(mode), data.draw(batches))


def test_hidden_tokens_do_not_count(embedder: object) -> None:
    """The longest token is hidden: the others' mean is 5, and it stays as it is."""
    spans = ((ImageSpan(0, 3, ImageTokens(1, 2, hidden=1)),),)
    layout = layout_of(spans, None, torch.zeros(1, 3))
    x = torch.tensor([[[3.0, 4.0], [0.0, 5.0], [1000.0, 0.0]]])
    new = Normalize("global").features(x, layout, embedder)
    torch.testing.assert_close(new, torch.tensor([[[1.2, 1.6], [0.0, 2.0], [1000.0, 0.0]]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mode", ["paper", "text_mean", "global"])
def test_dtype(mode: str, dtype: torch.dtype, embedder: object) -> None:
    """Lengths are sums of squares in float32: half precision would overflow at 300."""
    x, layout = pair([300, 0], [0, 300])
    new = Normalize(mode).features(x.to(dtype), layout, embedder)
    assert new.dtype == dtype
    goal = 0.83 * 1.22 if mode == "paper" else 2.0
    assert new[0, 1:3].float().norm(dim=-1).tolist() == pytest.approx([goal] * 2, rel=1e-2)


def test_nothing_at_strength_0(embedder: object) -> None:
    x, layout = pair([3, 4], [0, 15])
    method = Normalize(strength=0)
    assert method.idle()
    assert method.features(x, layout, embedder) is x
    assert not Normalize(strength=0.1).idle()


def test_only_global_needs_whole_images() -> None:
    assert [Normalize(mode).whole_images for mode in ("paper", "text_mean", "global")] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("normalize:mean", "mode of 'normalize' cannot be 'mean': expected paper, text_mean, gl"),
        ("normalize:strength=1.5", "strength of 'normalize' cannot be 1.5: expected a finite"),
        ("normalize:strength=-1", "cannot be -1.0"),
        ("normalize:strength=nan", "expected a finite number"),
    ],
)
def test_bad_parameters(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(spec)


class Trained:
    """An embedder that brings a gain."""

    mean_norm = 2.0

    def __init__(self, *gain: float) -> None:
        self.gain = torch.nn.Parameter(torch.tensor(gain, dtype=torch.float32))

    def learned(self, method: str) -> dict[str, torch.Tensor]:
        assert method == "normalize"
        return {"gain": self.gain}


def test_trained_by_hand() -> None:
    """(3, 4, 0, 0) over its rms 2.5 is (1.2, 1.6, 0, 0); gains make it (2.4, 0.8, 0, 0)."""
    x, layout = pair([3, 4, 0, 0], [0, 0, 0, -0.5])
    first, second = image(Normalize("trained"), x, layout, Trained(2, 0.5, 1, 0.1))
    length = (2.4**2 + 0.8**2) ** 0.5
    goal = [2.4 / length * 1.0126, 0.8 / length * 1.0126, 0, 0]
    assert first == pytest.approx(goal, abs=1e-5)
    # A gain may keep a token from the cut: -2 by 0.1 is -0.2, and 0.83 of it is left.
    assert second == pytest.approx([0, 0, 0, -0.166], abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_before_training_it_is_what_needs_no_training(
    batches: st.SearchStrategy, embedder: object, data: st.DataObject
) -> None:
    batch = data.draw(batches)
    x, layout = batch.embeddings, batch.layout
    (gain,) = Normalize("trained").learned(x.shape[-1]).values()
    plain = Normalize().features(x, layout, embedder)
    new = Normalize("trained").features(x, layout, Trained(*gain.tolist()))
    torch.testing.assert_close(new, plain)


def test_gradients_reach_the_gain_and_the_image_alone() -> None:
    x, layout = pair([3, 4, 0.5], [0, 0, 0])
    x.requires_grad_(True)
    trained = Trained(1, 1, 1)
    new = Normalize("trained").features(x, layout, trained)
    (new[0, 1] * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None and trained.gain.grad is not None
    assert x.grad.isfinite().all() and trained.gain.grad.isfinite().all()
    assert (trained.gain.grad != 0).all()
    assert not x.grad[0, [0, 2, 3]].any() and x.grad[0, 1].any()


def test_only_trained_has_parameters() -> None:
    for mode in ("paper", "text_mean", "global"):
        assert Normalize(mode).learned(3) == {}
    assert torch.equal(Normalize("trained").learned(3)["gain"], torch.ones(3))
    assert str(parse("normalize:trained")[0]) == "normalize:mode=trained"
    with pytest.raises(SpecError, match="cannot be 0.5 in the mode trained"):
        parse("normalize:trained,strength=0.5")
