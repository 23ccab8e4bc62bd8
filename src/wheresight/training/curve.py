"""The loss of a training as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wheresight.report.diagnostics.plots import INKS, panels
from wheresight.report.figures import Picture, Theme
from wheresight.report.texts import one_line
from wheresight.training.record import Step, TrainingRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOWS = 20  # the running mean is over a 20th of all steps


def loss_picture(training: TrainingRecord) -> Picture:
    """The loss of every step, its running mean, and the learning rate below."""
    curve = training.curve
    losses = [step.loss for step in curve]
    first, last = running_mean(losses)[[0, -1]]
    about = f"{training.model.name} under {training.intervention}"
    alt = (
        f"Loss of training {about} over {len(curve)} steps: the running mean goes from {first:.3f} "
        f"to {last:.3f} nats."
    )
    return Picture("loss", f"Training {about}", alt, lambda theme: _draw(training, theme))


def running_mean(values: list[float]) -> np.ndarray:
    """The mean of each value and its neighbours, as many as there are at the ends."""
    width = max(1, len(values) // _WINDOWS)
    ones = np.ones(2 * width + 1)
    count = np.convolve(np.ones(len(values)), ones, "same")
    if len(values) < len(ones):
        return np.full(len(values), float(np.mean(values)))
    return np.asarray(np.convolve(values, ones, "same") / count)


def _draw(training: TrainingRecord, theme: Theme) -> Figure:
    curve: list[Step] = training.curve
    steps = [step.step for step in curve]
    what = training.kind
    title = one_line(f"{training.model.name}, {what} under {training.intervention}", 80)
    figure, axes = panels(2, 1, (6.4, 1.9), theme, title)
    losses = [step.loss for step in curve]
    top, below = axes[:, 0]
    top.plot(steps, losses, color=theme.faint, linewidth=0.7, label="each step")
    top.plot(steps, running_mean(losses), color=INKS[0], linewidth=1.6, label="running mean")
    for begun in training.begun_at[1:]:
        top.axvline(begun + 0.5, color=INKS[1], linewidth=0.8, linestyle=":")
    top.set_ylabel("loss (nats a token)")
    top.set_ylim(bottom=0)
    top.grid(axis="y", color=theme.faint, alpha=0.3, linewidth=0.5)
    top.legend(frameon=False, labelcolor=theme.text, fontsize=8)
    below.plot(steps, [step.learning_rate for step in curve], color=INKS[2], linewidth=1.4)
    below.set_ylabel("learning rate")
    below.set_xlabel("step")
    below.set_ylim(bottom=0)
    below.grid(axis="y", color=theme.faint, alpha=0.3, linewidth=0.5)
    return figure
