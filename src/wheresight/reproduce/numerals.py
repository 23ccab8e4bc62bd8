"""Numbers of very different sizes as text."""

from __future__ import annotations

from wheresight.reproduce.reading import Number


def digits(value: float, *, sign: bool = False) -> str:
    """Two decimals, none from 1,000 on, and two significant digits below 0.01."""
    size = abs(value)
    plus = "+" if sign else ""
    if size >= 1000:
        return f"{value:{plus},.0f}"
    if size >= 0.01 or size == 0:
        return f"{value:{plus}.2f}"
    return f"{value:{plus}.2g}"


def interval(number: Number, *, sign: bool = False) -> str:
    """A number with its interval, where it has one; a dash where it is undefined."""
    if number.value is None:
        return "-"
    text = digits(number.value, sign=sign)
    if number.low is None or number.high is None:
        return text
    return f"{text} ({digits(number.low, sign=sign)} to {digits(number.high, sign=sign)})"
