"""The page of a tuning: one HTML file with everything in it, which asks the network for nothing.

Every text from data passes `printable` and jinja2's escaping on its way into the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wheresight.errors import RunError
from wheresight.report.build import write_file
from wheresight.report.document import DOCUMENT, flat, render
from wheresight.report.evaluation.numbers import reader_name
from wheresight.report.inline import drawing
from wheresight.report.tuning import OPTIMISTIC, cautions, measured, sections, setting, verdict
from wheresight.report.tuning_pictures import picture
from wheresight.runs.tuned import Tuned

PAGE = "tune.html"
FIGURES = "figures"
_MOST_OPEN = 16  # settings that are shown without unfolding


def write_page(folder: Path, tuned: Tuned) -> Path:
    """Write figures/tune-validation.png and .svg, then tune.html, and return the page's path.

    Args:
        folder: where; made if absent.
        tuned: the numbers.

    Raises:
        RunError: if the folder cannot be written.
    """
    drawings = folder / FIGURES
    try:
        drawings.mkdir(parents=True, exist_ok=True)
        drawn = picture(tuned)
        for ending, content in (("png", drawn.png()), ("svg", drawn.svg())):
            write_file(drawings / f"tune-{drawn.name}.{ending}", content)
        return write_file(folder / PAGE, page(tuned).encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(
            f"The page could not be written to {str(folder)!r}: {error}. The records are "
            "untouched: free space or permissions, then repeat the command."
        ) from error


def page(tuned: Tuned, *, layout: str = DOCUMENT, **more: Any) -> str:
    """Return the page, or with another layout a part of a larger one, which reads `more`."""
    return render(
        "tuning.html.j2",
        layout,
        tuned=tuned,
        picture=drawing("validation", picture(tuned)),
        verdict=verdict(tuned),
        cautions=cautions(tuned),
        optimistic=OPTIMISTIC,
        measured=measured(tuned),
        chosen=setting(tuned, tuned.choice.spec),
        setting=lambda spec: setting(tuned, spec),
        sections=sections(tuned),
        reader_name=reader_name,
        folded=len(tuned.candidates) > _MOST_OPEN,
        asks=any(one.unsure is not None for one in tuned.candidates),
        level=f"{100 * tuned.bootstrap.level:g}%",
        configuration=flat(tuned.configuration),
        hardware=flat(tuned.environment.hardware) if tuned.environment else [],
        **more,
    )
