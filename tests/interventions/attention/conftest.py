"""Attention calls with random logits and masks, and the softmax that follows."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import strategies as st

from wheresight.interventions.inputs import AttentionRows


@dataclasses.dataclass
class Attended:
    """Logits (B, A, Q, S) with the rows they belong to."""

    logits: torch.Tensor
    rows: AttentionRows

    def shares(self, logits: torch.Tensor) -> torch.Tensor:
        """Attention weights in float64, hidden keys 0."""
        low = torch.finfo(torch.float64).min
        return logits.double().masked_fill(~self.rows.visible, low).softmax(-1)

    def mass(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, A, Q): the image's share of each row."""
        return (self.shares(logits) * self.rows.image_seen).sum(-1)

    def alone(self, row: int) -> Attended:
        """One row of the batch."""
        one = slice(row, row + 1)
        of = self.rows
        rows = AttentionRows(
            of.layer,
            of.visible[one],
            of.image[one],
            None if of.decided is None else of.decided[one],
            None if of.calibration is None else of.calibration[one],
        )
        return Attended(self.logits[one], rows)


@st.composite
def attended(draw: st.DrawFn) -> Attended:
    """Any sizes; every query sees itself at least; rows may see no image, or nothing else."""
    b, a, q, s = (draw(st.integers(1, n)) for n in (3, 3, 4, 12))
    noise = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    logits = torch.randn(b, a, q, s, generator=noise) * draw(st.sampled_from([0.1, 3.0, 30.0]))
    visible = torch.rand(b, 1, q, s, generator=noise) < draw(st.sampled_from([0.3, 0.9]))
    visible[..., -1] = True
    image = torch.rand(b, 1, 1, s, generator=noise) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    decided = torch.rand(b, generator=noise) * 2
    blank = torch.rand(b, a, 1, s, generator=noise) * image / s
    blank = blank.masked_fill(torch.rand(blank.shape, generator=noise) < 0.1, 0)
    return Attended(logits, AttentionRows(0, visible, image, decided, blank))


@pytest.fixture(scope="session")
def calls() -> st.SearchStrategy[Attended]:
    """Any attention call."""
    return attended()


def _one_row(
    logits: list[float], image: list[int], visible: list[int] | None = None, **more: object
) -> Attended:
    seen = torch.tensor(visible or [1] * len(image)).bool()[None, None, None]
    of = torch.tensor(image).bool()[None, None, None]
    rows = AttentionRows(0, seen, of, **more)
    return Attended(torch.tensor(logits)[None, None, None], rows)


@pytest.fixture(scope="session")
def one_row() -> object:
    """Makes a call of one query: `one_row([1.0, 2.0], image=[1, 0], visible=[1, 1])`."""
    return _one_row


def _only_image_keys(method: object, call: Attended) -> torch.Tensor:
    new = method.logits(call.logits, call.rows)
    assert new.shape == call.logits.shape
    assert new.dtype == call.logits.dtype
    assert new.isfinite().all()
    others = ~call.rows.image_seen.expand(call.logits.shape)
    assert torch.equal(new[others], call.logits[others])
    for b in range(call.logits.shape[0]):
        alone = call.alone(b)
        one = method.logits(alone.logits, alone.rows)
        torch.testing.assert_close(one[0], new[b])
    return new


@pytest.fixture(scope="session")
def only_image_keys() -> object:
    """The new logits, once checked: other keys bit for bit, finite, batch rows independent."""
    return _only_image_keys
