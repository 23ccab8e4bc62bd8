"""AGCI by hand, against a plain reference, and without a leak between images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions import parse
from wheresight.interventions.features.agci import AGCI
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, layout_of


def test_by_hand(embedder: object) -> None:
    """Tokens (2, 0) and (0, 2): the mean (1, 1) is at 45 degrees to both."""
    layout = layout_of(((ImageSpan(1, 3, ImageTokens(1, 2)),),), None, torch.zeros(1, 3))
    x = torch.tensor([[[7.0, 7.0], [2.0, 0.0], [0.0, 2.0]]])
    new = AGCI().features(x, layout, embedder)
    part = 0.5 * (1 - 2**-0.5)
    want = torch.tensor([[[7, 7], [2 + part, part], [part, 2 + part]]])
    torch.testing.assert_close(new, want)


def test_hidden_tokens_do_not_count(embedder: object) -> None:
    spans = ((ImageSpan(0, 3, ImageTokens(1, 2, hidden=1)),),)
    x = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [500.0, 0.0]]])
    new = AGCI(1).features(x, layout_of(spans, None, torch.zeros(1, 3)), embedder)
    part = 1 - 2**-0.5
    torch.testing.assert_close(
        new, torch.tensor([[[2 + part, part], [part, 2 + part], [500.0, 0.0]]])
    )


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0, 3))
def test_each_image_against_a_reference(
    batches: st.SearchStrategy, embedder: object, data: st.DataObject, strength: float
) -> None:
    """All tokens of an image, newline, thumbnail and loose ones too; no other image counts."""
    batch = data.draw(batches)
    new = AGCI(strength).features(batch.embeddings, batch.layout, embedder)
    for b, spans in enumerate(batch.layout.images):
        for span in spans:
            assert (batch.layout.kind[b, span.start : span.stop] != Kind.HIDDEN).all()
            tokens = batch.embeddings[b, span.start : span.stop].double().numpy()
            g = tokens.mean(0)
            cosine = tokens @ g / (np.linalg.norm(tokens, axis=1) * np.linalg.norm(g))
            want = tokens + strength * (1 - cosine)[:, None] * g
            np.testing.assert_allclose(new[b, span.start : span.stop], want, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_are_alone(
    batches: st.SearchStrategy, each_row_alone: object, data: st.DataObject
) -> None:
    each_row_alone(AGCI(), data.draw(batches))


def test_limits(embedder: object) -> None:
    """Equal tokens are like their mean and stay; so do tokens whose mean is zero; zeros add g."""
    layout = layout_of(((ImageSpan(0, 2, ImageTokens(1, 2)),),), None, torch.zeros(1, 2))

    def new(*tokens: list[float]) -> list:
        out = AGCI(1).features(torch.tensor([tokens]), layout, embedder)
        return out[0].tolist()

    assert new([1, 2], [1, 2]) == [pytest.approx([1, 2])] * 2
    assert new([1, 2], [-1, -2]) == [[1, 2], [-1, -2]]
    assert new([0, 0], [2, 0]) == [[1, 0], [2, 0]]
    assert new([0, 0], [0, 0]) == [[0, 0], [0, 0]]


def test_idle_and_dtype(embedder: object) -> None:
    layout = layout_of(((ImageSpan(0, 2, ImageTokens(1, 2)),),), None, torch.zeros(1, 2))
    x = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]], dtype=torch.bfloat16)
    assert AGCI(0).idle() and AGCI(0).features(x, layout, embedder) is x
    assert AGCI().features(x, layout, embedder).dtype == torch.bfloat16
    assert parse("agci:lambda=0.3") == parse("agci:0.3") == (AGCI(0.3),)


@pytest.mark.parametrize("value", [-0.1, 101, float("nan"), float("inf"), True])
def test_bad_parameters(value: float) -> None:
    with pytest.raises(SpecError, match="lambda of 'agci' cannot be"):
        AGCI(value)
