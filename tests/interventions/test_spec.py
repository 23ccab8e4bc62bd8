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
from wheresight.interventions.host import Host, refuse_unhosted
from wheresight.interventions.positions.bapa import BaPA


@dataclass(frozen=True)
class Turn(Intervention):
    """A method with one parameter of every type."""

    name: ClassVar[str] = "turn"
    assigns: ClassVar[bool] = False
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
    assigns: ClassVar[bool] = False
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
        assert to_json(spec) == [{"name": "bapa", "params": {"text_only": False, "layers": "all"}}]


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
    assert parse("must:2+turn") != parse("turn+must:2")  # one seam: as given
    assert parse("turn+bapa") == parse("bapa+turn")  # what assigns ids before what rearranges them
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


@given(
    st.lists(
        st.one_of(turns, st.just(BaPA()), st.builds(Must, st.floats(-9, 9))),
        max_size=4,
        unique_by=type,
    )
)
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
    ("none:x=1", "'none' takes no parameters; 'x' was given"),
    ("none:1", "'1' is not of the form param=value"),
    ("bapa:x=1", "Unknown parameter of 'bapa' 'x'. Known: layers, text_only."),
    ("bapa:layers=0-", "layers of 'bapa' cannot be '0-': expected numbers such as 3, 0-15"),
    ("bapa:layers=5-2", "cannot be '5-2'"),
    ("bapa+bapa", "it is one method twice"),
    ("bapa+cca", "both assign the positions"),
    ("cca+mask:causal", "both set the mask"),
    ("mask:ring+mask:causal", "it is one method twice"),
    ("pool:2+drop:0.5", "both take image tokens away"),
    ("adaptvis+shift:1", "one of them chooses by the first answer"),
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


# ---- layers -------------------------------------------------------------------------------------


def test_layers() -> None:
    (bapa,) = parse("bapa:layers=8/0-2/1-4")
    assert [n for n in range(12) if bapa.layer_key(n) is not None] == [0, 1, 2, 3, 4, 8]
    assert str(bapa) == "bapa:layers=0-4/8"
    assert [n for n in range(5) if parse("bapa:layers=even")[0].layer_key(n)] == [0, 2, 4]
    assert [n for n in range(5) if parse("bapa:layers=odd")[0].layer_key(n)] == [1, 3]
    assert canonical("bapa:layers=all") == "bapa"


def test_methods_may_share_a_model_but_not_a_layer() -> None:
    assert canonical("cca:layers=4-7+bapa:layers=0-3") == "cca:layers=4-7+bapa:layers=0-3"
    assert canonical("bapa:layers=even+bapa_far:layers=odd").count("+") == 1
    with pytest.raises(SpecError, match="cannot be combined"):
        parse("cca:layers=3-7+bapa:layers=0-3")


@pytest.mark.parametrize(("count", "fits"), [(5, True), (4, False)])
def test_layers_that_a_model_does_not_have(count: int, fits: bool) -> None:
    (bapa,) = parse("bapa:layers=4")
    assert (bapa.refuses(Host("any", layers=count)) is None) == fits
    refuse_unhosted([bapa], Host("any"))  # not known yet
    if not fits:
        with pytest.raises(SpecError, match="layers are 0 to 3"):
            refuse_unhosted([bapa], Host("any", layers=count))


def test_a_mask_needs_an_attention_that_takes_one() -> None:
    for spec in ("mask:bidirectional", "cca", "drop:fraction=0.5"):
        refuse_unhosted(parse(spec), Host("any", attention="eager"))
        with pytest.raises(SpecError, match="takes no mask of its own"):
            refuse_unhosted(parse(spec), Host("any", attention="flash_attention_2"))
    refuse_unhosted(parse("cca:mask=false+agci"), Host("any", attention="flash_attention_2"))
