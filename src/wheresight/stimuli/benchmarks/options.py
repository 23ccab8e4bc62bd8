"""Read the options of a benchmark's spec, such as `images=100` in `2ds#images=100,seed=3`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wheresight.errors import StimulusError, unknown_name


def whole_number(benchmark: str, name: str, text: str, least: int) -> int:
    """Read a whole number of at least `least`.

    Raises:
        StimulusError: if it is not one.
    """
    try:
        found = int(text)
    except ValueError:
        found = least - 1
    if found < least:
        raise StimulusError(
            f"The benchmark {benchmark!r} was given {name}={text}. Expected a whole number of at "
            f"least {least}."
        )
    return found


def refuse_unknown(benchmark: str, left: Mapping[str, str], known: Iterable[str]) -> None:
    """Raise StimulusError if an option was given that the benchmark does not have."""
    if left:
        raise StimulusError(unknown_name(f"option of {benchmark}", next(iter(left)), known))
