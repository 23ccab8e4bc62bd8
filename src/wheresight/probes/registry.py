"""Which diagnostics there are: ours by lazy name, third parties' by entry point."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from wheresight.errors import SpecError
from wheresight.interventions.spec import build, read_part
from wheresight.probes.diagnostic import Diagnostic
from wheresight.registration import class_behind, known_classes, registered

GROUP = "wheresight.diagnostics"

# In the order of the report: what the picture gives, what the language model does with it, and what
# follows for the answer.
BUILT_IN: dict[str, str] = {
    "understanding": "wheresight.probes.understanding:Understanding",
    "norms": "wheresight.probes.norms:Norms",
    "flow": "wheresight.probes.flow:Flow",
    "balance": "wheresight.probes.balance:Balance",
    "rope": "wheresight.probes.rope:Rope",
    "alignment": "wheresight.probes.alignment:Alignment",
    "erasure": "wheresight.probes.erasure:Erasure",
    "psi": "wheresight.probes.psi:Psi",
    "compression": "wheresight.probes.compression:Compression",
    "origin": "wheresight.probes.origin:Origin",
}


@functools.cache
def _from_packages() -> tuple[tuple[str, str], ...]:
    """What installed packages register; it does not change while we run."""
    return registered(GROUP)


def known_diagnostics() -> dict[str, str]:
    """Every name with the `module:Class` behind it; nothing is imported.

    Raises:
        SpecError: if two packages claim one name.
    """
    return known_classes("diagnostic", BUILT_IN, _from_packages())


def diagnostic_class(name: str) -> type[Diagnostic]:
    """Import the class behind a name.

    Raises:
        SpecError: unknown name, a module that cannot be imported, or one whose class is not a
            Diagnostic of that name.
    """
    known = known_diagnostics()
    return class_behind("diagnostic", name, known, Diagnostic)  # type: ignore[type-abstract]


def diagnostic(spec: str) -> Diagnostic:
    """Read `name:param=value,param=value`, the grammar of interventions without `+`.

    Raises:
        SpecError: what was given, what was expected, what to do.
    """
    try:
        return read_part(spec, spec, "diagnostic", diagnostic_class)
    except SpecError as error:
        if "," in spec.partition("benchmark=")[2].partition("#")[2]:
            hint = "A benchmark with a comma in its spec is given on its own, with --benchmark."
            raise SpecError(f"{error} {hint}") from None
        raise


def diagnostic_of(name: str, options: Mapping[str, Any]) -> Diagnostic:
    """Make one from its name and its options' values, as `to_json` writes them."""
    return build(diagnostic_class(name), options, "diagnostic")


def diagnostics(
    specs: Sequence[str],
    *,
    items: int | None = None,
    protocol: str | None = None,
    benchmark: str | None = None,
) -> list[Diagnostic]:
    """Read several, or all with their defaults where none is given.

    Args:
        specs: as `diagnostic` reads them; each name at most once.
        items, protocol, benchmark: given to every diagnostic that has such an option and does not
            set it.

    Raises:
        SpecError: also if a name is given twice, or none of them takes the benchmark.
    """
    chosen = list(specs) or list(known_diagnostics())
    found: list[Diagnostic] = []
    for spec in chosen:
        tool = diagnostic(spec)
        if any(tool.name == other.name for other in found):
            raise SpecError(
                f"The diagnostic {tool.name!r} is asked for twice. Name each once, or use one "
                "output folder for each set of options."
            )
        written = {part.partition("=")[0].strip() for part in spec.partition(":")[2].split(",")}
        given = {"items": items, "protocol": protocol, "benchmark": benchmark}
        more = {
            name: value
            for name, value in given.items()
            if value is not None and name in tool.parameters() and name not in written
        }
        found.append(build(type(tool), {**tool.values(), **more}, "diagnostic") if more else tool)
    if benchmark is not None and not any("benchmark" in tool.parameters() for tool in found):
        able = [n for n in known_diagnostics() if "benchmark" in diagnostic_class(n).parameters()]
        raise SpecError(
            f"The benchmark {benchmark!r} was given, and no diagnostic that was asked for takes "
            f"one. Those that do are {', '.join(able)}."
        )
    return found
