"""Which interventions there are: ours by lazy name, third parties' by entry point."""

from __future__ import annotations

import functools
import re

from wheresight.interventions.base import Intervention
from wheresight.registration import class_behind, known_classes, registered

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
    """What installed packages register; it does not change while we run."""
    return registered(GROUP)


def known_interventions() -> dict[str, str]:
    """Every name with the `module:Class` behind it; nothing is imported.

    Raises:
        SpecError: if two packages claim one name.
    """
    return known_classes("intervention", BUILT_IN, _from_packages())


def intervention_class(name: str) -> type[Intervention]:
    """Import the class behind a name.

    Raises:
        SpecError: unknown name, a module that cannot be imported, or one whose class is not an
            Intervention of that name.
    """
    return class_behind("intervention", name, known_interventions(), Intervention)
