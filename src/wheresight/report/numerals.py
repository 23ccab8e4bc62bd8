"""How a number is written: its decimals, its sign, its unit, its interval. In ASCII but for %²."""

from __future__ import annotations

from typing import Literal

from wheresight.runs.results import Estimate, Results

Unit = Literal["share", "whole", "percent", "squared", "index", "z", "nats", "score"]

_SCALE = {"share": 100.0, "whole": 100.0}
_DECIMALS = {"share": 1, "whole": 0, "percent": 1, "index": 3, "z": 2, "nats": 2, "score": 2}


def scaled(number: float, unit: Unit) -> float:
    """Return a number as it is shown: shares become percent, `whole` ones without decimals."""
    return number * _SCALE.get(unit, 1.0)


def written(number: float | None, unit: Unit, *, signed: bool = False) -> str:
    """Write a number without its unit sign, in ASCII; a missing one is a dash.

    >>> written(0.8241, "share"), written(-0.02, "share", signed=True), written(4.316, "squared")
    ('82.4', '-2.0', '4.32')
    """
    if number is None:
        return "-"
    shown = scaled(number, unit)
    decimals = _DECIMALS.get(unit, 2 if abs(shown) < 99.995 else 1)
    text = f"{shown:+.{decimals}f}" if signed else f"{shown:.{decimals}f}"
    zero = not text.strip("+-0.")
    return text.lstrip("+-") if zero else text


def quantity(count: int, noun: str) -> str:
    """Write a count with what is counted.

    >>> quantity(1, "item"), quantity(1200, "item")
    ('1 item', '1,200 items')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def interval(estimate: Estimate, unit: Unit, *, signed: bool = False) -> str:
    """Write an interval as `79.1 to 85.6`; a dash where it is undefined."""
    if estimate.low is None or estimate.high is None:
        return "-"
    low = written(estimate.low, unit, signed=signed)
    return f"{low} to {written(estimate.high, unit, signed=signed)}"


def sign(unit: Unit, *, difference: bool = False) -> str:
    """Return the unit as it stands after a number, with its space; differences are in points."""
    if unit in ("share", "whole", "percent"):
        return " points" if difference else "%"
    return {"squared": " %²", "nats": " nats"}.get(unit, "")


def level(results: Results) -> str:
    """Return the intervals' coverage, such as `95%`."""
    return f"{100 * results.bootstrap.level:g}%"


def p_value(p: float | None) -> str:
    """Write a p value."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
