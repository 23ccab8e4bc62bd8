"""The learning curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw_curves(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Two panels, tower and decoder: what is right, from 0 to 1, against the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    labels = {
        "tower": {
            "patches_right": "covered patches named right",
            "cosine": "cosine with own name",
        },
        "decoder": {"yes_no": "Yes/No right", "words": "other words right"},
    }
    for place, (phase, lines) in enumerate(labels.items()):
        axes = figure.add_subplot(1, 2, place + 1)
        for key, label in lines.items():
            points = [(p["step"], p[key]) for p in curves[phase] if key in p]
            axes.plot(*zip(*points, strict=True), label=label)
        axes.set(title=phase, xlabel="step", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=120)
