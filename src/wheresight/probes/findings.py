"""Collecting findings: each quantity under each intervention, and its difference to the first."""

from __future__ import annotations

from collections.abc import Mapping

from wheresight.probes.diagnostic import Finding
from wheresight.statistics.clustered import Drawn


class Findings:
    """A list of findings; what is added for a later intervention is compared with the first too.

    Quantities that are compared must have been drawn with the same clusters and the same seed, so
    that their difference is paired.

    Attributes:
        found: in the order they were added.
    """

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._first: str | None = None
        self._reference: dict[tuple[object, ...], Drawn] = {}

    def add(
        self,
        name: str,
        label: str,
        drawn: Drawn,
        intervention: str,
        *,
        unit: str = "index",
        where: Mapping[str, int | str] | None = None,
        definition: str = "ours",
        headline: bool = True,
        note: str = "",
        bounds: tuple[float, float] = (-float("inf"), float("inf")),
        compare: bool = True,
    ) -> None:
        """Add a quantity that is one number.

        Args:
            name, label, intervention, unit, where, definition, headline, note: as of a Finding.
            drawn: the number and its replicates.
            bounds: the least and greatest value possible.
            compare: add its difference to the first intervention too.
        """
        places = dict(where or {})
        if self._first is None:
            self._first = intervention
        self.found.append(
            Finding(
                name, label, **drawn.numbers(bounds), unit=unit, intervention=intervention,
                where=places, definition=definition, headline=headline, note=note,
            )
        )  # fmt: skip
        key = (name, definition, tuple(sorted(places.items())))
        if intervention == self._first:
            self._reference[key] = drawn
        elif compare and key in self._reference:
            self.found.append(
                Finding(
                    name, label, **(drawn - self._reference[key]).numbers(), unit=unit,
                    intervention=intervention, versus=self._first, where=places,
                    definition=definition, headline=headline, note=note,
                )
            )  # fmt: skip
