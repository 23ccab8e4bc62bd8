"""Executors: who computes the work units. One file each.

An executor is a class with `share` and `compute`. A new one is one file and one line in
`EXECUTORS`; third parties register theirs through the entry-point group `wheresight.executors`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, cast

from wheresight.errors import RunError, unknown_name

if TYPE_CHECKING:
    from wheresight.runs.launch import Share
    from wheresight.runs.work import Work

EXECUTORS = {
    "local": "wheresight.runs.executors.local:Local",
    "ray": "wheresight.runs.executors.ray_:Ray",
}


class Executor(Protocol):
    """Computes the work units of a run; it is made without arguments."""

    def share(self, environ: Mapping[str, str]) -> Share:
        """Which share of the work this process has, from the environment's variables.

        Raises:
            RunError: if something that the executor needs is not installed.
        """

    def compute(self, work: Work) -> None:
        """Compute every unit of the work; each part is in its folder before this returns.

        Raises:
            WheresightError: what went wrong; finished parts are kept.
        """


def executors() -> dict[str, str]:
    """Names of executors and the `module:Class` behind each, those of plug-ins included."""
    found = {e.name: e.value for e in entry_points(group="wheresight.executors")}
    return {**found, **EXECUTORS}


def executor(name: str) -> Executor:
    """Make the executor of this name.

    Raises:
        RunError: if there is none.
    """
    known = executors()
    if name not in known:
        raise RunError(unknown_name("executor", name, known))
    module, _, attribute = known[name].partition(":")
    return cast(Executor, getattr(importlib.import_module(module), attribute)())
