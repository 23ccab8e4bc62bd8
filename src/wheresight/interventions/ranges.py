"""The ranges that parameters may be in, and the sentence for a value that is not."""

from __future__ import annotations

import math

from wheresight.errors import SpecError


def number_in(
    method: str,
    parameter: str,
    value: float,
    low: float,
    high: float,
    *,
    below: bool = False,
) -> None:
    """Check that a number is finite and from `low` to `high`; with `below`, less than `high`.

    Raises:
        SpecError: one sentence with the value and the range.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and low <= value <= high and not (below and value == high):
        return
    upto = "below" if below else "to"
    raise SpecError(
        f"The parameter {parameter} of {method!r} cannot be {value!r}: expected a finite number "
        f"from {low:g} {upto} {high:g}."
    )


def whole_number(method: str, parameter: str, value: object, low: int, high: int) -> None:
    """Check that a whole number is from `low` to `high`.

    Raises:
        SpecError: one sentence with the value and the range.
    """
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return
    raise SpecError(
        f"The parameter {parameter} of {method!r} cannot be {value!r}: expected a whole number "
        f"from {low} to {high}."
    )
