"""Classes by name: ours by a lazy `module:Class`, third parties' by an entry point."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from wheresight.errors import SpecError, unknown_name

Base = TypeVar("Base")


def registered(group: str) -> tuple[tuple[str, str], ...]:
    """Names and `module:Class` targets that installed packages register in a group."""
    return tuple((entry.name, entry.value) for entry in entry_points(group=group))


def known_classes(
    kind: str, built_in: Mapping[str, str], packages: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """Every name with the `module:Class` behind it; nothing is imported.

    Args:
        kind: what they are, in the singular.
        built_in: ours.
        packages: what `registered` found.

    Raises:
        SpecError: if two claim one name.
    """
    known = dict(built_in)
    for name, target in packages:
        if known.setdefault(name, target) != target:
            raise SpecError(
                f"Two {kind}s are called {name!r}: {known[name]} and {target}. Rename one, "
                "or uninstall its package."
            )
    return known


def class_behind(kind: str, name: str, known: Mapping[str, str], base: type[Base]) -> type[Base]:
    """Import the class behind a name.

    Args:
        kind: what it is, in the singular.
        name: as it was given.
        known: what `known_classes` returned.
        base: what it must be a subclass of; its `name` must be this one.

    Raises:
        SpecError: unknown name, a module that cannot be imported, or a class of another sort.
    """
    if name not in known:
        raise SpecError(unknown_name(kind, name, known))
    module, _, attribute = known[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"The {kind} {name!r} is registered as {known[name]!r}, which cannot be "
            f"imported ({error}). Reinstall or remove the package that registers it."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, base)) or found.name != name:  # type: ignore[attr-defined]
        raise SpecError(
            f"The {kind} {name!r} is registered as {known[name]!r}; expected a subclass of "
            f"{base.__module__}.{base.__qualname__} with name = {name!r}."
        )
    return found
