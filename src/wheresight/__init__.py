"""Wheresight: does it matter to a vision-language model where the thing is?

    lvlm = wheresight.load("pocket")
    with wheresight.intervene(lvlm, "bapa"):
        lvlm.model.generate(**inputs)

Names are imported on first use, so that `import wheresight` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wheresight.lvlm.adapters import save_adapter as save_adapter
    from wheresight.lvlm.intervene import intervene as intervene
    from wheresight.lvlm.loading import load as load
    from wheresight.lvlm.read import read as read
    from wheresight.lvlm.wrapper import LVLM as LVLM
    from wheresight.lvlm.wrapper import wrap as wrap

_HOME = {
    "load": "wheresight.lvlm.loading",
    "wrap": "wheresight.lvlm.wrapper",
    "LVLM": "wheresight.lvlm.wrapper",
    "intervene": "wheresight.lvlm.intervene",
    "save_adapter": "wheresight.lvlm.adapters",
    "read": "wheresight.lvlm.read",
}
__all__ = ["LVLM", "__version__", "intervene", "load", "read", "save_adapter", "wrap"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'wheresight' has no attribute {name!r}")
