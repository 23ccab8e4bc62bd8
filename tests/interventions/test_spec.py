"""The grammar of specs: every form there and back, and one sentence for each mistake."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheresight.errors import SpecError
from wheresight.interventions import (
    Intervention,
    canonical,
    from_json,
    intervention_class,
    known_interventions,
    parse,
    registry,
    to_json,
)
from wheresight.interventions.base import SEAMS
from wheresight.interventions.positions.bapa import BaPA


@dataclass(frozen=True)
class Turn(Intervention):
    """A method with one parameter of every type."""

    name: ClassVar[str] = "turn"
    angle: float = 0.5
    steps: int = 2
    far: bool = False
    axis: str = "row"
    lambda_: float = 1.0
    scale: float = field(default=1.0, metadata={"read": lambda text: float(str(text).rstrip("x"))})

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise SpecError(f"turn: steps must not be negative; {self.steps} was given.")

    def positions(self, ids: Any, layout: Any) -> Any:
        return ids


@dataclass(frozen=True)
class Must(Intervention):
    """A method whose parameter has no default."""

    name: ClassVar[str] = "must"
    alpha: float

    def positions(self, ids: Any, layout: Any) -> Any:
        return ids


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "turn", f"{__name__}:Turn")
    monkeypatch.setitem(registry.BUILT_IN, "must", f"{__name__}:Must")


def test_forms_of_one_spec() -> None:
    for spec in ("bapa", " bapa ", BaPA(), {"name": "bapa"}, ["bapa"], "none+bapa", [["bapa"]]):
        assert parse(spec) == (BaPA(),)
        assert canonical(spec) == "bapa"
        assert to_json(spec) == [{"name": "bapa", "params": {}}]


def test_nothing() -> None:
    for spec in ("none", [], "none+none", {"name": "none", "params": {}}):
        assert canonical(spec) == "none"
        assert [part.seams() for part in parse(spec)] == [()]


def test_parameters() -> None:
    (turn,) = parse("turn:angle=1e+5, steps=7,far=true,axis=column,lambda=0.3")
    assert turn == Turn(1e5, 7, True, "column", 0.3)
    assert canonical(turn) == "turn:angle=100000.0,steps=7,far=true,axis=column,lambda=0.3"
    assert canonical("turn:angle=0.5") == "turn"
    assert parse("turn:3") == (Turn(3.0),)
    assert parse("turn:scale=2x") == (Turn(scale=2.0),)
    assert parse("must:alpha=2+turn:steps=1") == (Must(2.0), Turn(steps=1))
    assert parse("bapa+turn") != parse("turn+bapa")  # one seam: as given
    assert to_json("must:2") == [{"name": "must", "params": {"alpha": 2.0}}]
    assert to_json("turn")[0]["params"]["lambda"] == 1.0


turns = st.builds(
    Turn,
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 10**6),
    st.booleans(),
    st.text("abcxyz_09", min_size=1),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(st.one_of(turns, st.just(BaPA()), st.builds(Must, st.floats(-9, 9))), max_size=4))
def test_string_and_json_come_back(parts: list[Intervention]) -> None:
    parsed = parse(parts)
    assert parse(canonical(parts)) == parsed
    assert from_json(json.loads(json.dumps(to_json(parts)))) == parsed
    assert canonical(canonical(parts)) == canonical(parts)
    assert canonical(to_json(parts)) == canonical(parts)


BAD = [
    ("bappa", "Unknown intervention 'bappa'. Did you mean 'bapa'"),
    ("", "does not begin with a name"),
    ("bapa+", "'' in 'bapa+' does not begin with a name"),
    ("+bapa", "does not begin with a name"),
    ("BaPA", "does not begin with a name"),
    ("bapa:", "'' is not of the form param=value"),
    ("bapa:x=1", "'bapa' takes no parameters; 'x' was given"),
    ("bapa:1", "'1' is not of the form param=value"),
    ("turn:angel=1", "Did you mean 'angle'"),
    ("turn:angle=", "'angle=' is not of the form"),
    ("turn:=3", "'=3' is not of the form"),
    ("turn:angle=1,2", "'2' is not of the form"),
    ("turn:angle=1,angle=2", "angle is given twice"),
    ("turn:angle=nan", "cannot be 'nan': expected a finite number"),
    ("turn:angle=inf", "expected a finite number"),
    ("turn:angle=much", "cannot be 'much': expected a finite number"),
    ("turn:steps=1.5", "expected a whole number"),
    ("turn:steps=-1", "steps must not be negative"),
    ("turn:far=maybe", "expected true or false"),
    ("turn:scale=wide", "cannot be 'wide'"),
    ("must", "'must' needs alpha: write must:alpha=..."),
    (3, "cannot be a int"),
    (b"bapa", "cannot be a bytes"),
    (None, "cannot be a NoneType"),
    ({"nam": "bapa"}, "not of the form"),
    ({"name": "bapa", "params": 3}, "not of the form"),
    ({"name": "turn", "params": {"angle": True}}, "cannot be True: expected a finite number"),
    ({"name": "turn", "params": {"steps": 1.5}}, "expected a whole number"),
    ({"name": "turn", "params": {"axis": 1}}, "expected a word"),
    (["bapa", 3], "cannot be a int"),
]


@pytest.mark.parametrize(("spec", "message"), BAD, ids=[repr(s) for s, _ in BAD])
def test_each_mistake_is_one_or_two_sentences(spec: Any, message: str) -> None:
    with pytest.raises(SpecError) as told:
        parse(spec)
    text = str(told.value)
    assert message in text
    assert text.endswith(".")
    assert "\n" not in text


# ---- the registry -------------------------------------------------------------------------------


def test_everything_registered_is_what_it_says() -> None:
    for name in known_interventions():
        found = intervention_class(name)
        assert found.name == name
        assert set(found.seams()) <= set(SEAMS)
        assert found.__doc__


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("bapa", "other:BaPA"), "Two interventions are called 'bapa'"),
        (("mine", "no_such_module:X"), "cannot be imported"),
        (("mine", "collections:NoSuch"), "cannot be imported"),
        (("mine", "collections:OrderedDict"), "expected a subclass"),
        (("mine", "wheresight.interventions.positions.bapa:BaPA"), "name = 'mine'"),
    ],
)
def test_entry_points_that_are_wrong(
    monkeypatch: pytest.MonkeyPatch, entry: tuple[str, str], message: str
) -> None:
    monkeypatch.setattr(registry, "_from_packages", lambda: (entry,))
    with pytest.raises(SpecError, match=message):
        parse("mine")


def test_an_entry_point_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry.BUILT_IN, "turn")
    monkeypatch.setattr(registry, "_from_packages", lambda: (("turn", f"{__name__}:Turn"),))
    assert canonical("turn:steps=3") == "turn:steps=3"
