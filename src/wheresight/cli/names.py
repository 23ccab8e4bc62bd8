"""Names that a shell completes: without torch, and without opening what third parties register."""

from __future__ import annotations

from collections.abc import Iterable


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def complete_intervention(incomplete: str) -> list[str]:
    """Methods; of `bapa+ag` the last part is completed."""
    from wheresight.interventions.registry import known_interventions

    before, plus, last = incomplete.rpartition("+")
    return [before + plus + name for name in _starting(known_interventions(), last)]


def complete_model(incomplete: str) -> list[str]:
    """The pocket models and skeletons; hub ids are not known here."""
    from wheresight.pocket import NAMES
    from wheresight.skeletons import names

    return _starting([*NAMES, *names()], incomplete)


def complete_benchmark(incomplete: str) -> list[str]:
    """Benchmarks by name."""
    from wheresight.stimuli.benchmarks import benchmarks

    return _starting(benchmarks(), incomplete)


def complete_tool(incomplete: str) -> list[str]:
    """Diagnostics by name."""
    from wheresight.probes.registry import known_diagnostics

    return _starting(known_diagnostics(), incomplete)


def complete_entry(incomplete: str) -> list[str]:
    """Tables and figures, and papers."""
    from wheresight.reproduce.catalogue import names, papers

    return _starting([*names(), *papers()], incomplete)
