"""Many settings in one text, published ones, and methods that choose by how sure a model is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions.attention.adaptvis import AdaptVis
from wheresight.interventions.by_confidence import ByConfidence
from wheresight.interventions.grids import MOST_CANDIDATES, read_grid
from wheresight.interventions.registry import intervention_class, known_interventions
from wheresight.interventions.spec import canonical, parse


def test_one_list() -> None:
    grid = read_grid("scalingvis:alpha={0.5, 0.8,2}")
    assert [(a.name, a.values) for a in grid.axes] == [("alpha", ("0.5", "0.8", "2"))]
    assert grid.specs == ("scalingvis:alpha=0.5", "scalingvis:alpha=0.8", "scalingvis:alpha=2.0")
    assert grid.values == (("0.5",), ("0.8",), ("2",))
    assert grid.text == "scalingvis:alpha={0.5,0.8,2}" and grid.source == ""
    assert read_grid("scalingvis:{0.5,0.8,2}") == grid  # the first parameter needs no name


def test_several_lists_make_all_combinations_the_first_changes_slowest() -> None:
    grid = read_grid("adaptvis:low={0.5,0.8},high=1.2,threshold={0.2,0.3}")
    assert [axis.name for axis in grid.axes] == ["low", "threshold"]
    assert grid.values == (("0.5", "0.2"), ("0.5", "0.3"), ("0.8", "0.2"), ("0.8", "0.3"))
    for spec, (low, threshold) in zip(grid.specs, grid.values, strict=True):
        assert parse(spec) == (AdaptVis(float(low), 1.2, float(threshold)),)


def test_parts_may_be_joined_and_values_need_not_be_numbers() -> None:
    grid = read_grid("bapa+scalingvis:alpha={1e+2,2},layers={0-3/5,all}")
    assert [axis.name for axis in grid.axes] == ["alpha", "layers"]
    assert grid.specs[0] == canonical("bapa+scalingvis:alpha=100,layers=0-3/5")
    assert len(grid.specs) == 4
    twice = read_grid("scalingvis:alpha={2,3},layers=0-1+temperature:alpha={2,3},layers=2-3")
    assert [axis.name for axis in twice.axes] == ["scalingvis.alpha", "temperature.alpha"]


def test_published_grids_fill_in_what_is_left_out() -> None:
    grid = read_grid("scalingvis", published=True)
    assert [float(v) for v in grid.axes[0].values] == [0, 0.5, 0.8, 1.2, 1.5, 2]
    assert "2503.01773" in grid.source
    own = read_grid("adaptvis:threshold={0.3,0.4},rounding=2", published=True)
    assert {a.name: len(a.values) for a in own.axes} == {"threshold": 2, "low": 2, "high": 3}
    assert len(own.specs) == 12 and all("rounding=2" in spec for spec in own.specs)
    assert read_grid("bapa+scalingvis", published=True).specs[0].startswith("bapa+")


@pytest.mark.parametrize(
    ("text", "published", "said"),
    [
        ("scalingvis:alpha={0.5,2", False, "do not match"),
        ("scalingvis:alpha={0.5,2+bapa}", False, "do not match"),
        ("scalingvis:alpha={}", False, "no list of values"),
        ("scalingvis:alpha={0.5,,2}", False, "no list of values"),
        ("scalingvis:alpha={1,2}{3}", False, "no list of values"),
        ("scalingvis:alpha={{1,2}}", False, "no list of values"),
        ("scalingvis:alpha=0.5", False, "nothing to choose"),
        ("scalingvis:alpha=0.5", True, "nothing to choose"),
        ("scalingvis:alpha={1,1.0}", False, "twice"),
        ("scalingvis:alpha={1,2},alpha=3", False, "given twice"),
        ("scalingvis:alpha={1,x}", False, "a finite number"),
        ("scalingvis:alpha={1,-2}", False, "0 to 1000"),
        ("scalingvis:beta={1,2}", False, "Unknown parameter"),
        ("scalingviss:alpha={1,2}", False, "Did you mean"),
        ("adaptvis:low={0.5,0.6}+shift:amount={1,2}", False, "cannot be combined"),
        ("{scalingvis,shift}", False, "does not begin with"),
        ("bapa", True, "has a published grid"),
        ("shift:amount={" + ",".join(map(str, range(MOST_CANDIDATES + 1))) + "}", False, "at most"),
    ],
)
def test_what_is_refused(text: str, published: bool, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_grid(text, published=published)


def test_neutral_values_leave_the_model_as_it_is() -> None:
    found = 0
    for name in known_interventions():
        method = intervention_class(name)
        if method.neutral:
            found += 1
            assert method(**method.neutral).idle()
        if method.published_grid is not None:
            assert set(method.published_grid.values) <= set(method.parameters())
            assert method.published_grid.source
    assert found >= 3


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.floats(0.5, 8), st.sampled_from(["none", 0, 1, 2, 3]),
    st.floats(0, 1),
)  # fmt: skip
def test_confidence_decides_as_the_method_itself_does(
    seed: int, sharpness: float, rounding: int | str, threshold: float
) -> None:
    logits = sharpness * torch.randn(40, 50, generator=torch.Generator().manual_seed(seed))
    method = AdaptVis(0.5, 1.5, round(threshold, 2), rounding)
    by = method.by_confidence()
    confidence = logits.double().softmax(-1).amax(-1).numpy()
    factor = np.where(by.is_unsure(confidence), by.unsure.alpha, by.sure.alpha)  # type: ignore[attr-defined]
    told = ~np.array([by.in_doubt(np.array([one])) for one in confidence])
    np.testing.assert_array_equal(method.decide(logits).numpy()[told], factor[told])
    assert told.mean() > 0.9


def test_confidence_at_the_threshold_is_sure_and_in_doubt() -> None:
    by = AdaptVis(threshold=0.4).by_confidence()
    assert not by.is_unsure(np.array([0.4])).any() and by.is_unsure(np.array([0.399])).all()
    assert by.in_doubt(np.array([0.9, 0.4])) and not by.in_doubt(np.array([0.9, 0.399]))
    rounded = AdaptVis(threshold=0.4, rounding=2).by_confidence()
    assert not rounded.is_unsure(np.array([0.3951, 0.4])).any()
    assert rounded.is_unsure(np.array([0.394])).all()
    assert not rounded.in_doubt(np.array([0.4])) and rounded.in_doubt(np.array([0.395]))
    assert isinstance(by, ByConfidence) and by.unsure.layers == AdaptVis().layers  # type: ignore[attr-defined]
