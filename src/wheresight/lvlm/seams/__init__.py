"""Where interventions touch a running model: one file a seam.

A new seam is a class like the one in `positions.py`, a line here, and a method of the same name on
`Intervention`.
"""

from __future__ import annotations

from wheresight.lvlm.seams.positions import PositionSeam
from wheresight.lvlm.seams.seam import Seam

SEAM_CLASSES: dict[str, type[Seam]] = {"positions": PositionSeam}

__all__ = ["SEAM_CLASSES", "Seam"]
