"""The two protocols that diagnostics may have: the paper's way, and ours."""

from __future__ import annotations

from wheresight.errors import SpecError

PROTOCOLS = ("balanced", "paper")


def check_protocol(name: str, protocol: str) -> None:
    """Raise SpecError unless a protocol is one of the two."""
    if protocol not in PROTOCOLS:
        raise SpecError(
            f"The parameter protocol of {name!r} cannot be {protocol!r}: expected one of "
            f"{', '.join(PROTOCOLS)}."
        )
