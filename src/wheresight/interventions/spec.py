"""The grammar of a spec: `bapa`, `name:param=value,param=value`, `a+b`; its JSON form.

    spec   = part ("+" part)*
    part   = name [":" item ("," item)*]
    item   = param "=" value | value           (a bare value is the first parameter's)

Importing this module, and reading a spec, does not import torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from wheresight.errors import SpecError, unknown_name
from wheresight.interventions.base import Intervention
from wheresight.interventions.compose import check, ordered
from wheresight.interventions.parameters import WithParameters
from wheresight.interventions.registry import NAME, intervention_class

# What users may give wherever a spec is asked for.
Spec = str | Intervention | Mapping[str, Any] | Iterable[Any]
_Named = TypeVar("_Named", bound=WithParameters)

# A plus that joins parts comes before a name; the plus of 1e+5 comes before a digit.
_JOIN = re.compile(r"\+(?!\d)")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse(spec: Spec) -> tuple[Intervention, ...]:
    """Read a spec: a string, an Intervention, a JSON object, or a list of any of these.

    Returns:
        One or more interventions in the order in which they act: by seam, then as given. `none`
        is dropped beside others; an empty list is `none`.

    Raises:
        SpecError: with one sentence on what was given, what was expected and what to do; also
            if two parts contradict each other (see `compose`).

    >>> [str(part) for part in parse("none+bapa")]
    ['bapa']
    """
    parts = [part for part in _flatten(spec) if part.seams()]
    if not parts:
        return (intervention_class("none")(),)
    check(parts)
    return ordered(parts)


def beginning(spec: Spec) -> str:
    """The canonical spec of what decides all of a prompt but its last row.

    >>> beginning("bapa+scalingvis:alpha=0.8")
    'bapa'
    """
    return canonical([part for part in parse(spec) if not part.last_row_only()])


def example(name: str) -> Intervention:
    """An intervention of this name with its defaults, and example values where it has none.

    >>> str(example("scalingvis"))
    'scalingvis:alpha=0.8'
    """
    found = intervention_class(name)
    text = f"{name}:{found.example}" if found.example else name
    return read_part(text, text, "intervention", intervention_class)


def canonical(spec: Spec) -> str:
    """The one string form of a spec: parsed, ordered, defaults left out.

    >>> canonical(["none", "bapa"])
    'bapa'
    """
    return "+".join(str(part) for part in parse(spec))


def to_json(spec: Spec) -> list[dict[str, Any]]:
    """The JSON form of a spec: a list of {"name": ..., "params": {...}}, defaults written out."""
    return [part.to_json() for part in parse(spec)]


def from_json(data: Any) -> tuple[Intervention, ...]:
    """Read the JSON form back; the same errors as `parse`."""
    return parse(data)


def _flatten(spec: Any) -> list[Intervention]:
    if isinstance(spec, Intervention):
        return [spec]
    if isinstance(spec, str):
        return [
            read_part(part, spec, "intervention", intervention_class) for part in _JOIN.split(spec)
        ]
    if isinstance(spec, Mapping):
        return [_from_mapping(spec)]
    if isinstance(spec, Iterable) and not isinstance(spec, bytes):
        return [found for part in spec for found in _flatten(part)]
    raise SpecError(
        f"An intervention spec cannot be a {type(spec).__name__} ({spec!r}). Give a string such "
        "as 'bapa', an Intervention, its JSON object, or a list of these."
    )


def read_part(part: str, whole: str, kind: str, find: Callable[[str], type[_Named]]) -> _Named:
    """Read one `name:param=value,param=value`.

    Args:
        part: the text.
        whole: what it was part of, for messages.
        kind: what it names, such as `intervention`, for messages.
        find: the class of a name.

    Raises:
        SpecError: one sentence on what was given, what was expected and what to do.
    """
    name, colon, rest = (piece.strip() for piece in part.partition(":"))
    within = f" in {whole!r}" if part.strip() != whole.strip() else ""
    if not NAME.fullmatch(name):
        joined = " with parts joined by '+', such as 'bapa'" if kind == "intervention" else ""
        raise SpecError(
            f"The {kind} spec {part!r}{within} does not begin with a name. Expected "
            f"name:param=value,param=value{joined}."
        )
    found = find(name)
    known = found.parameters()
    given: dict[str, Any] = {}
    for place, item in enumerate(rest.split(",") if colon else ()):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals and place == 0 and key and known:
            key, value = next(iter(known)), key
        elif not equals or not key or not value:
            raise SpecError(
                f"In the {kind} spec {part!r}{within}, {item!r} is not of the form param=value."
            )
        if key in given:
            raise SpecError(f"In the {kind} spec {part!r}{within}, {key} is given twice.")
        given[key] = value
    return build(found, given, kind)


def _from_mapping(data: Mapping[str, Any]) -> Intervention:
    extra = sorted(str(key) for key in set(data) - {"name", "params"})
    name, params = data.get("name"), data.get("params", {})
    if extra or not isinstance(name, str) or not isinstance(params, Mapping):
        raise SpecError(
            f"The intervention object {dict(data)!r} is not of the form "
            '{"name": "bapa", "params": {...}}.'
        )
    return build(intervention_class(name), params, "intervention")


def build(found: type[_Named], given: Mapping[str, Any], kind: str) -> _Named:
    """Make one from its parameters as text or as values; the same errors as `read_part`."""
    known = found.parameters()
    types = typing.get_type_hints(found)
    values = {}
    for spelt, value in given.items():
        if spelt not in known:
            if not known:
                raise SpecError(
                    f"The {kind} {found.name!r} takes no parameters; {spelt!r} was given."
                )
            raise SpecError(unknown_name(f"parameter of {found.name!r}", spelt, known))
        field = known[spelt]
        read = field.metadata.get("read", types[field.name])
        values[field.name] = _value(found.name, spelt, value, read)
    missing = [
        spelt
        for spelt, field in known.items()
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SpecError(
            f"The {kind} {found.name!r} needs {', '.join(missing)}: write "
            f"{found.name}:{','.join(f'{spelt}=...' for spelt in missing)}."
        )
    return found(**values)


def _value(name: str, spelt: str, given: Any, wanted: Any) -> Any:
    """Read one value as the type of its field, or by the field's own reader (metadata `read`)."""
    try:
        if wanted is bool:
            return given if isinstance(given, bool) else _WORDS[str(given).lower()]
        if isinstance(given, bool):
            raise ValueError
        if wanted is int:
            if isinstance(given, float) and not given.is_integer():
                raise ValueError
            return int(given)
        if wanted is float:
            number = float(given)
            if not math.isfinite(number):
                raise ValueError
            return number
        if wanted is str:
            if not isinstance(given, str):
                raise ValueError
            return given
        return wanted(given)
    except (ValueError, TypeError, KeyError, OverflowError):
        expected = {
            int: "a whole number",
            float: "a finite number",
            bool: "true or false",
            str: "a word",
        }.get(wanted, getattr(wanted, "__doc__", None) or "another form")
        raise SpecError(
            f"The parameter {spelt} of {name!r} cannot be {given!r}: expected {expected}."
        ) from None
