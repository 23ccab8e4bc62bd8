"""Times as people say them."""

from __future__ import annotations


def exact(seconds: float) -> str:
    """Write a time in its two largest units.

    >>> exact(3.21), exact(250), exact(19200), exact(273600)
    ('3.2 s', '4 min 10 s', '5 h 20 min', '3 d 4 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            parts = divmod(round(whole / small), size // small)
            return f"{parts[0]:,} {name} {parts[1]} {below}"
    return f"{whole // 60} min {whole % 60} s"


def about(seconds: float) -> str:
    """Write a time to wait in the largest unit of which it has two at least.

    >>> about(0.2), about(80), about(1176), about(9000), about(1e6), about(1e9)
    ('1 s', '80 s', '20 min', '2.5 h', '12 days', '32 years')
    """
    for size, unit in ((365 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:,.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
