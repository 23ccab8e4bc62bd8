"""What can be done to a model: one file per method, named by a spec such as `bapa`.

Names are imported on first use: reading a spec must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheresight.interventions.base import Intervention as Intervention
    from wheresight.interventions.registry import intervention_class as intervention_class
    from wheresight.interventions.registry import known_interventions as known_interventions
    from wheresight.interventions.spec import canonical as canonical
    from wheresight.interventions.spec import from_json as from_json
    from wheresight.interventions.spec import parse as parse
    from wheresight.interventions.spec import to_json as to_json

_HOME = {
    "Intervention": "base",
    "canonical": "spec",
    "from_json": "spec",
    "intervention_class": "registry",
    "known_interventions": "registry",
    "parse": "spec",
    "to_json": "spec",
}
__all__ = [
    "Intervention",
    "canonical",
    "from_json",
    "intervention_class",
    "known_interventions",
    "parse",
    "to_json",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
