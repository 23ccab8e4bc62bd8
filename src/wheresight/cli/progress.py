"""Progress for people: a bar with rate and ETA in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from wheresight.durations import about

_SECONDS_BETWEEN_LINES = 10.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


class ConsoleProgress:
    """Draws a run's progress on a rich console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._total = self._done = self._before = 0
        self._unit = ""
        self._began = self._said = 0.0

    def say(self, text: str) -> None:
        """Print one step."""
        self._console.print(f"[dim]·[/dim] {escape(text)}", highlight=False)

    def start(self, total: int, done: int, unit: str) -> None:
        """Begin counting at `done` of `total`."""
        self._total, self._done, self._before, self._unit = total, done, done, unit
        self._began = self._said = time.monotonic()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[progress.description]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TextColumn("elapsed"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._bar.add_task(unit, total=total, completed=done)

    def advance(self, count: int) -> None:
        """Count on; where there is no terminal, print a line every ten seconds."""
        self._done += count
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)
        elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES and self._done < self._total:
            self._said = time.monotonic()
            self._line()

    def stop(self) -> None:
        """End the count."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            self._line()

    def _line(self) -> None:
        spent = max(time.monotonic() - self._began, 1e-9)
        rate = (self._done - self._before) / spent
        said = [f"{self._done:,}/{self._total:,} {self._unit}"]
        if rate:  # nothing done yet says nothing of the rest
            said.append(_rate(rate))
        if self._done >= self._total:
            said.append("done")
        elif rate:
            said.append(f"about {about((self._total - self._done) / rate)} left")
        self._console.print(", ".join(said), highlight=False)


def _rate(each_second: float) -> str:
    """Write a rate with two digits at least.

    >>> _rate(1234.5), _rate(2.345), _rate(0.4)
    ('1,234/s', '2.3/s', '2.5 s each')
    """
    if each_second < 1:
        return f"{1 / each_second:,.1f} s each"
    return f"{each_second:,.1f}/s" if each_second < 10 else f"{each_second:,.0f}/s"
