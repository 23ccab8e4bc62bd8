"""What Inspect finds here through the entry point `inspect_ai`; no weights, no torch."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from wheresight.bridges.inspect.grid_probe import grid_probe, show_composite
from wheresight.bridges.inspect.metrics import (
    balanced_accuracy,
    false_alarm_rate,
    hit_rate,
    spread,
)
from wheresight.bridges.inspect.yes_no import yes_no

__all__ = [
    "balanced_accuracy",
    "false_alarm_rate",
    "grid_probe",
    "hit_rate",
    "show_composite",
    "spread",
    "wheresight",
    "yes_no",
]


@modelapi(name="wheresight")
def wheresight() -> type[ModelAPI]:
    """The provider behind `--model wheresight/NAME`; imported when such a model is asked for."""
    from wheresight.bridges.inspect.provider import WheresightAPI

    return WheresightAPI
