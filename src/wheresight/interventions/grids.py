"""Many settings of a method in one text: `scalingvis:alpha={0.5,0.8,1.2}`.

A grid is a spec in which any value may be a list in braces; several lists make all combinations.
The first list changes slowest. A method may carry the grid that its authors searched, which fills
in the parameters that the text leaves out.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from wheresight.errors import SpecError
from wheresight.interventions.registry import NAME, intervention_class
from wheresight.interventions.spec import canonical

MOST_CANDIDATES = 1000

_JOIN = re.compile(r"\+(?!\d)")  # as in a spec: the plus of 1e+5 joins nothing
_COMMA = re.compile(r",(?![^{}]*\})")  # outside of braces


@dataclass(frozen=True)
class Axis:
    """A parameter that has several values.

    Attributes:
        name: the parameter's, with its method's before it where two methods share the name.
        values: as they are written.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The settings to choose among.

    Attributes:
        text: the grid with all its lists, those of the published grid too.
        axes: the parameters that vary, in the order of the text.
        specs: canonical, all different.
        values: for each spec, its value on each axis.
        source: of the published grid; empty where the text gives all values.
    """

    text: str
    axes: tuple[Axis, ...]
    specs: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    source: str = ""


def read_grid(text: str, *, published: bool = False) -> Grid:
    """Read a grid.

    Args:
        text: a spec with lists in braces.
        published: let each method's published grid fill in the parameters that are left out.

    Raises:
        SpecError: braces that do not close or are empty, nothing that varies, too many settings, a
            setting that is no spec, no published grid.

    >>> read_grid("bapa+scalingvis:alpha={0.5,2}").specs
    ('bapa+scalingvis:alpha=0.5', 'bapa+scalingvis:alpha=2.0')
    """
    pieces = _JOIN.split(text)
    if any(piece.count("{") != piece.count("}") for piece in pieces):
        raise SpecError(
            f"The braces in {text!r} do not match. Expected lists such as "
            "scalingvis:alpha={0.5,2}; quote them, so that the shell leaves them alone."
        )
    parts = [_part(piece, text) for piece in pieces]
    sources = []
    if published:
        for name, given in parts:
            own = intervention_class(name).published_grid
            if own is not None:
                given |= {k: tuple(map(str, v)) for k, v in own.values.items() if k not in given}
                sources.append(own.source)
        if not sources:
            raise SpecError(
                f"No method in {text!r} has a published grid. Give its values in braces, such as "
                "param={value,value}."
            )
    axes = _axes(parts)
    if not axes:
        raise SpecError(
            f"{text!r} is one setting, so there is nothing to choose. Expected a list in braces, "
            "such as scalingvis:alpha={0.5,0.8,1.2,1.5,2}, in quotes; or --grid published."
        )
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_CANDIDATES:
        raise SpecError(
            f"{text!r} makes {count:,} settings; expected at most {MOST_CANDIDATES:,}. Give fewer "
            "values."
        )
    found: dict[str, tuple[str, ...]] = {}
    for values in itertools.product(*(axis.values for axis in axes)):
        spec = canonical(_filled(parts, values))
        if spec in found:
            raise SpecError(f"{text!r} holds the setting {spec} twice. Give each value once.")
        found[spec] = values
    whole = "+".join(_written(name, given) for name, given in parts)
    return Grid(whole, axes, tuple(found), tuple(found.values()), "; ".join(sources))


def _part(piece: str, whole: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The name of a part, and its parameters with one or more values each."""
    name, colon, rest = (side.strip() for side in piece.partition(":"))
    if not NAME.fullmatch(name):
        raise SpecError(
            f"{piece!r} in {whole!r} does not begin with a method's name. Expected "
            "name:param={value,value}."
        )
    known = intervention_class(name).parameters()
    given: dict[str, tuple[str, ...]] = {}
    for place, item in enumerate(_COMMA.split(rest) if colon else ()):
        key, equals, value = (side.strip() for side in item.partition("="))
        if not equals and place == 0 and known:
            key, value = next(iter(known)), key
        elif not equals:
            raise SpecError(f"In {whole!r}, {item!r} is not of the form param=value.")
        if key in given:
            raise SpecError(f"In {whole!r}, {key} is given twice.")
        given[key] = _values(value, item, whole)
    return name, given


def _values(value: str, item: str, whole: str) -> tuple[str, ...]:
    listed = value.startswith("{") and value.endswith("}")
    inside = value[1:-1] if listed else value
    found = tuple(one.strip() for one in inside.split(","))
    if "{" in inside or "}" in inside or "" in found:
        raise SpecError(
            f"In {whole!r}, {item.strip()!r} is no list of values. Expected param={{value,value}} "
            "with no value left empty."
        )
    return found


def _axes(parts: list[tuple[str, dict[str, tuple[str, ...]]]]) -> tuple[Axis, ...]:
    found = [(name, key, own) for name, given in parts for key, own in given.items()]
    varied = [(name, key, own) for name, key, own in found if len(own) > 1]
    keys = [key for _, key, _ in varied]
    return tuple(
        Axis(key if keys.count(key) == 1 else f"{name}.{key}", own) for name, key, own in varied
    )


def _filled(parts: list[tuple[str, dict[str, tuple[str, ...]]]], values: tuple[str, ...]) -> str:
    """The spec with one value on each axis."""
    left = iter(values)
    chosen = [
        (name, {key: (own[0] if len(own) == 1 else next(left),) for key, own in given.items()})
        for name, given in parts
    ]
    return "+".join(_written(name, given) for name, given in chosen)


def _written(name: str, given: Mapping[str, tuple[str, ...]]) -> str:
    items = [f"{k}={v[0]}" if len(v) == 1 else f"{k}={{{','.join(v)}}}" for k, v in given.items()]
    return name + (":" + ",".join(items) if items else "")
