"""The studies are scripts beside the package: their folders are put on the path."""

from __future__ import annotations

import sys
from pathlib import Path

STUDY = Path(__file__).parents[2] / "studies" / "position_schemes"
sys.path.insert(0, str(STUDY))
