"""Which interventions there are: ours by lazy name, third parties' by entry point."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from importlib.metadata import entry_points

from wheresight.errors import SpecError, unknown_name
from wheresight.interventions.base import Intervention

GROUP = "wheresight.interventions"
NAME = re.compile(r"[a-z][a-z0-9_]*")

BUILT_IN = {
    "none": "wheresight.interventions.none:Nothing",
    "bapa": "wheresight.interventions.positions.bapa:BaPA",
    "bapa_far": "wheresight.interventions.positions.bapa_far:BaPAFar",
    "bapa_cross": "wheresight.interventions.positions.bapa_cross:BaPACross",
    "v2pe": "wheresight.interventions.positions.v2pe:V2PE",
    "cca": "wheresight.interventions.positions.cca:CCA",
    "mca": "wheresight.interventions.positions.mca:MCA",
    "pype": "wheresight.interventions.positions.pype:PyPE",
    "shuffle": "wheresight.interventions.positions.shuffle:Shuffle",
    "reverse": "wheresight.interventions.positions.reverse:Reverse",
    "spatial_reset": "wheresight.interventions.positions.spatial_reset:SpatialReset",
    "videorope": "wheresight.interventions.positions.videorope:VideoRoPE",
    "circle": "wheresight.interventions.positions.circle:CircleRoPE",
    "id_align": "wheresight.interventions.positions.id_align:IDAlign",
    "mrope_on_1d": "wheresight.interventions.positions.mrope_on_1d:MRoPEOn1D",
    "mask": "wheresight.interventions.masks.mask:ImageMask",
    "scalingvis": "wheresight.interventions.attention.scalingvis:ScalingVis",
    "adaptvis": "wheresight.interventions.attention.adaptvis:AdaptVis",
    "temperature": "wheresight.interventions.attention.temperature:Temperature",
    "shift": "wheresight.interventions.attention.shift:Shift",
    "uac": "wheresight.interventions.attention.uac:UAC",
    "normalize": "wheresight.interventions.features.normalize:Normalize",
    "multilayer": "wheresight.interventions.features.multilayer:Multilayer",
    "agci": "wheresight.interventions.features.agci:AGCI",
    "pool": "wheresight.interventions.features.pool:Pool",
    "pool_broadcast": "wheresight.interventions.features.pool_broadcast:PoolBroadcast",
    "permute": "wheresight.interventions.features.permute:Permute",
    "rearrange": "wheresight.interventions.features.rearrange:Rearrange",
    "drop": "wheresight.interventions.features.drop:Drop",
}


@functools.cache
def _from_packages() -> tuple[tuple[str, str], ...]:
    """Names and targets that installed packages register; they do not change while we run."""
    return tuple((entry.name, entry.value) for entry in entry_points(group=GROUP))


def known_interventions() -> dict[str, str]:
    """Every name with the `module:Class` behind it; nothing is imported.

    Raises:
        SpecError: if two packages claim one name.
    """
    known = dict(BUILT_IN)
    for name, target in _from_packages():
        if known.setdefault(name, target) != target:
            raise SpecError(
                f"Two interventions are called {name!r}: {known[name]} and {target}. Rename one, "
                "or uninstall its package."
            )
    return known


def intervention_class(name: str) -> type[Intervention]:
    """Import the class behind a name.

    Raises:
        SpecError: unknown name, a module that cannot be imported, or one whose class is not an
            Intervention of that name.
    """
    known = known_interventions()
    if name not in known:
        raise SpecError(unknown_name("intervention", name, known))
    module, _, attribute = known[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"The intervention {name!r} is registered as {known[name]!r}, which cannot be "
            f"imported ({error}). Reinstall or remove the package that registers it."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, Intervention)) or found.name != name:
        raise SpecError(
            f"The intervention {name!r} is registered as {known[name]!r}; expected a subclass of "
            f"wheresight.interventions.base.Intervention with name = {name!r}."
        )
    return found
