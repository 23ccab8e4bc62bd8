"""What docs/papers.md says was recomputed, recomputed; the numbers are those of the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fenced import ROOT
from scipy.stats import chi2

from wheresight.interventions.attention.scalingvis import ScalingVis
from wheresight.interventions.features.normalize import Normalize
from wheresight.interventions.geometry import blocks_of
from wheresight.interventions.inputs import AttentionRows
from wheresight.interventions.positions.cca import CCA
from wheresight.interventions.positions.circle import CircleRoPE
from wheresight.interventions.positions.mca import MCA
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Layout, layout_of
from wheresight.statistics.dispersion import delta
from wheresight.statistics.sets import published_set_accuracy
from wheresight.stimuli.benchmarks.parts import adaptvis_split

PAGE = " ".join((ROOT / "docs" / "papers.md").read_text("utf-8").split())

# Cells of Table 1, arXiv 2509.21984v1; tests/statistics/test_paper_table.py has all of it.
GEMMA = np.array([83.77, 83.05, 78.11, 85.11, 84.43, 78.98, 84.41, 82.87, 77.60])
GEMMA_BAPA = np.array([93.03, 93.10, 91.05, 92.66, 92.97, 90.01, 92.49, 92.94, 90.48])
NEXT_BAPA = np.array([96.44, 96.35, 96.52, 96.31, 96.12, 96.47, 96.42, 96.46, 96.63])
QWEN_7B = np.array([81.86, 80.00, 81.67, 83.81, 81.71, 83.58, 84.15, 82.62, 83.05])
QWEN_7B_BAPA = np.array([80.95, 78.71, 79.92, 81.95, 80.43, 82.23, 83.41, 81.54, 82.38])
QWEN_32B = np.array([82.25, 81.82, 82.58, 82.39, 81.47, 81.66, 82.52, 81.92, 81.00])
QWEN_32B_BAPA = np.array([82.31, 81.69, 82.31, 82.72, 81.66, 81.53, 84.18, 83.57, 82.34])


def said(*words: str) -> None:
    """The page must say it with these words."""
    for text in words:
        assert text in PAGE, text


def flatness(cells: np.ndarray, items: int = 10_000) -> float:
    """p of a chi-squared test that nine independent cells have one rate."""
    rates = cells / 100
    mean = rates.mean()
    return float(chi2.sf(items * ((rates - mean) ** 2).sum() / (mean * (1 - mean)), 8))


def test_which_rows_of_table_1_are_flat() -> None:
    said(f"(p = {flatness(QWEN_32B):.3f})", f"(p = {flatness(NEXT_BAPA):.2f})")
    assert flatness(QWEN_32B_BAPA) < 0.001


def test_what_bapa_does_to_qwen_at_either_size() -> None:
    small = QWEN_7B_BAPA.mean() - QWEN_7B.mean()
    large = QWEN_32B_BAPA.mean() - QWEN_32B.mean()
    said(f"by {small:.2f} at 7B and {large:+.2f} at 32B")
    assert delta(QWEN_7B_BAPA) > delta(QWEN_7B)
    assert delta(QWEN_32B_BAPA) > delta(QWEN_32B)


def test_gemma_keeps_its_pattern() -> None:
    said(f"r = {np.corrcoef(GEMMA, GEMMA_BAPA)[0, 1]:.2f} between the nine cells")


def one_image(side: int, before: int = 5, after: int = 3) -> Layout:
    """The layout of one row: text, a square image, text."""
    count = before + side * side + after
    span = ImageSpan(before, before + side * side, ImageTokens(side, side))
    real = torch.ones(1, count, dtype=torch.bool)
    return layout_of(((span,),), real, torch.zeros(1, count, dtype=torch.int64))


@pytest.mark.parametrize(("method", "name"), [(CCA(), "CCA"), (MCA(), "MCA")])
def test_the_centre_is_nearest_by_construction(method: CCA | MCA, name: str) -> None:
    layout = one_image(24)
    ids = torch.arange(layout.length)[None, None]
    offsets = method.positions(ids, layout, 0)[0, 0, 5 : 5 + 576].reshape(24, 24) - 5
    cells = offsets.reshape(3, 8, 3, 8).double().mean((1, 3))
    numbers = [float(cells[0, 0]), float(cells[0, 1]), float(cells[1, 1])]
    said(f"{name} " + ", ".join(f"{number:.1f}".removesuffix(".0") for number in numbers))
    assert blocks_of(layout).most == 1


def test_equal_distance_on_the_circle_is_not_equal_attention() -> None:
    layout = one_image(8)
    ids = torch.arange(layout.length)[None, None].expand(3, -1, -1)
    placed = CircleRoPE().positions(ids, layout, 0)[:, 0, 5 : 5 + 64] - 5
    distance = placed.square().sum(0).sqrt()
    assert torch.allclose(distance, distance[:1].expand_as(distance), atol=1e-4)
    # One rotary pair on each axis, query and key alike: the logit is a sum of cosines.
    logits = placed.cos().sum(0)
    assert float(logits.max() - logits.min()) > 0.5


def test_a_factor_below_one_raises_the_share_of_negative_logits() -> None:
    logits = torch.tensor([[[[0.0, 0.5, -2.0, -3.0, -4.0]]]])
    image = torch.tensor([[[[False, False, True, True, True]]]])
    rows = AttentionRows(0, torch.ones_like(image), image)

    def share(alpha: float) -> float:
        weights = ScalingVis(alpha).logits(logits, rows).softmax(-1)
        return float((weights * image).sum())

    assert share(0.5) > share(1.0) > share(2.0)


def test_the_published_count_of_sets_stays_below_one() -> None:
    _, test = adaptvis_split(412)
    sets = np.array([number // 4 for number in test])
    whole = int((np.bincount(sets, minlength=103) == 4).sum())
    share = published_set_accuracy(np.ones(len(test), bool), sets, 4)
    said(f"leaves {whole} of Controlled_A's 103 sets whole", f"counted as {100 * share:.1f} %")


def test_psi_of_the_printed_accuracies() -> None:
    pairs = {"POPE": (87.30, 87.10), "VQAv2": (78.20, 77.35), "GQA": (61.36, 58.62)}
    psi = {name: f"{100 * (a - b) / a:.2f}" for name, (a, b) in pairs.items()}
    said(f"gives {psi['POPE']}.", f"VQAv2 ({psi['VQAv2']})", f"GQA ({psi['GQA']})")
    said(f"CV-Bench ({100 * (56.59 - 56.26) / 56.59:.2f} for 0.57)")


def test_cmb_without_any_preference() -> None:
    even = 576 / (576 + 15)
    said(f"give {even:.3f} without any preference", "0.76 is a twelfth")
    ratio = (0.76 / 0.24) / (576 / 15)
    assert 1 / ratio == pytest.approx(12, abs=0.5)


def test_normalize_is_one_constant_length() -> None:
    layout = one_image(4)
    wide = torch.randn(1, layout.length, 1024) * 7
    out = Normalize().features(wide, layout, None)  # type: ignore[arg-type]
    lengths = out[0, 5 : 5 + 16].norm(dim=-1)
    assert torch.allclose(lengths, torch.full_like(lengths, 0.83 * 1.22), atol=1e-5)
    said(f"0.83 * 1.22 = {0.83 * 1.22:.4f}")
    assert math.isclose(0.83 * 1.22, 1.0126)
