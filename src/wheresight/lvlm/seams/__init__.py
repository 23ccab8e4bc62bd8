"""Where interventions touch a running model: one file a seam.

A new seam is a class like those here, a line below, and a method on `Intervention` with a line in
its table of seams.
"""

from __future__ import annotations

from wheresight.lvlm.seams.attention import AttentionSeam
from wheresight.lvlm.seams.features import FeatureSeam
from wheresight.lvlm.seams.mask import MaskSeam
from wheresight.lvlm.seams.positions import PositionSeam
from wheresight.lvlm.seams.seam import Handle, Seam
from wheresight.lvlm.seams.vision import VisionSeam

SEAM_CLASSES: dict[str, type[Seam]] = {
    seam.name: seam for seam in (VisionSeam, FeatureSeam, PositionSeam, MaskSeam, AttentionSeam)
}

__all__ = [
    "SEAM_CLASSES",
    "AttentionSeam",
    "FeatureSeam",
    "Handle",
    "MaskSeam",
    "PositionSeam",
    "Seam",
    "VisionSeam",
]
