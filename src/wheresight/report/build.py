"""Writing a report: report.html, figures/ and samples/, each file whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from wheresight.errors import RunError
from wheresight.report.thumbnails import Render
from wheresight.runs.results import Results

REPORT = "report.html"
FIGURES = "figures"

# Names that this module gives; a file so named that no result has any more is of an older report.
_OURS = re.compile(r"(cells-\d+-.+|difference-\d+-.+|comparison)\.(png|svg)")


def write_report(
    folder: Path, results: Results, records: pa.Table, render: Render | None = None
) -> Path:
    """Write figures/*.png and *.svg, samples/, then report.html, and return the page's path.

    samples/ is for runs whose samples have no room in the page.

    Args:
        folder: where; made if absent.
        results: the numbers.
        records: the rows that they were made from.
        render: draws a composite from the JSON of its recipe. None: the source is not at hand;
            the page says so and is complete but for these pictures.

    Raises:
        RunError: if the folder cannot be written.
    """
    from wheresight.report.figures import pictures
    from wheresight.report.html import SAMPLES, pages

    folder = Path(folder)
    drawings = folder / FIGURES
    written = set()
    try:
        drawings.mkdir(parents=True, exist_ok=True)
        for picture in pictures(results):
            for name, content in (
                (f"{picture.name}.png", picture.png()),
                (f"{picture.name}.svg", picture.svg()),
            ):
                write_file(drawings / name, content)
                written.add(name)
        for old in drawings.iterdir():
            if _OURS.fullmatch(old.name) and old.name not in written:
                old.unlink()
        made = pages(results, records, render)
        write_samples(folder, SAMPLES, made.samples)
        return write_file(folder / REPORT, made.page.encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(
            f"The report could not be written to {str(folder)!r}: {error}. The records are "
            "untouched: free space or permissions, then make the report again."
        ) from error


def write_samples(folder: Path, own: str, samples: Mapping[str, str]) -> None:
    """Write pages of samples, and remove those of an older report.

    Args:
        folder: where the page lies.
        own: the folder in it that holds pages of samples alone.
        samples: pages by their names, which begin with `own`.
    """
    for name, text in samples.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, text.encode("utf-8", "replace"))
    for old in (folder / own).rglob("samples-*.html"):
        if old.relative_to(folder).as_posix() not in samples:
            old.unlink()
            with suppress(OSError):  # not empty
                old.parent.rmdir()


def write_file(final: Path, content: bytes) -> Path:
    """Write a file so that it is whole or absent, and return its path."""
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    return final
