"""The learning curves: kept while training, and drawn as a picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Report = Callable[[str, int, int, dict[str, float]], None]


class Curve:
    """Means of what a phase of the training measures at each step, over ``every`` steps.

    Attributes:
        points: one for each stretch of steps: the means, the step at its end, seconds so far.
    """

    def __init__(self, phase: str, steps: int, every: int, report: Report) -> None:
        self.points: list[dict[str, float]] = []
        self._phase, self._steps, self._every, self._report = phase, steps, every, report
        self._values: dict[str, list[float]] = {}
        self._started = time.monotonic()

    def add(self, step: int, values: dict[str, float]) -> None:
        """Keep what was measured at a step (from 0), and report now and then."""
        for key, value in values.items():
            self._values.setdefault(key, []).append(value)
        if (step + 1) % self._every == 0 or step + 1 == self._steps:
            point = {key: float(np.nanmean(found)) for key, found in self._values.items()}
            point |= {"step": step + 1, "seconds": time.monotonic() - self._started}
            self.points.append(point)
            self._values = {}
            self._report(self._phase, step + 1, self._steps, point)


def draw_curves(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel for each phase: what is right, from 0 to 1, against the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = {
        "tower": {"patches_right": "covered patches named right", "cosine": "cosine with own name"},
        "decoder": {"yes_no": "Yes/No right", "words": "other words right"},
    }
    figure = Figure(figsize=(4.5 * len(curves), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (phase, curve) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), place + 1)
        for key, label in lines[phase.split(",")[0]].items():
            points = [(p["step"], p[key]) for p in curve if key in p]
            axes.plot(*zip(*points, strict=True), label=label)
        axes.set(title=phase, xlabel="step", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=120)
