"""A folder of images with metadata.jsonl or metadata.csv beside them (Hugging Face imagefolder)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from wheresight.errors import StimulusError
from wheresight.stimuli import images
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.sources.lazy import assemble, pair_from_row
from wheresight.stimuli.sources.options import Options


def open(location: str, options: Options) -> Source:
    """Open a folder whose metadata names a file and a caption per row.

    The id is the column `id`, or else the file name. File names must stay inside the folder. In
    CSV, `siblings` is a JSON list.
    """
    folder = Path(location).expanduser()
    if not folder.is_dir():
        raise StimulusError(
            f"There is no folder {location!r}. Expected one with images and a metadata.jsonl."
        )
    metadata = next(
        (found for end in ("jsonl", "csv") if (found := folder / f"metadata.{end}").is_file()), None
    )
    if metadata is None:
        raise StimulusError(
            f"The folder {location!r} has no metadata. Expected a metadata.jsonl (or metadata.csv) "
            'in it, with one line per image such as {"file_name": "a.png", "caption": "a cat"}.'
        )
    rows = _jsonl(metadata) if metadata.suffix == ".jsonl" else _csv(metadata)
    first = next(rows, None)
    if first is None:
        raise StimulusError(f"{str(metadata)!r} has no rows. Expected one line per image.")
    where = f"{str(metadata)!r}"
    file_column = options.image_column(list(first), where, default="file_name")
    caption = options.caption_column(list(first), where)

    def named() -> Iterator[tuple[str, str, dict[str, Any]]]:
        for row in chain([first], rows):
            file = _inside(row.get(file_column), metadata)
            given = row.get("id")
            yield file if given in (None, "") else str(given), file, row

    spec = options.name(f"folder:{location}")
    chosen = options.select(named(), lambda row: row[0], f"The source {spec!r}")
    files = {pair_id: file for pair_id, file, _ in chosen}
    return assemble(
        spec,
        chosen,
        lambda row: pair_from_row(row[0], row[2].get(caption), row[2]),
        lambda pair_id: images.read_file(folder / files[pair_id], pair_id),
        options,
    )


def _inside(name: object, metadata: Path) -> str:
    if not isinstance(name, str) or not name.strip():
        raise StimulusError(
            f"A row of {str(metadata)!r} names no file (found {name!r}). Expected a file name."
        )
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise StimulusError(
            f"{str(metadata)!r} names the file {name!r}, which is outside its folder. Expected "
            "names inside it, such as images/a.png."
        )
    return str(path)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    with path.open(encoding="utf-8") as lines:
        try:
            for line in lines:
                number += 1
                if not line.strip():
                    continue
                row = json.loads(line)  # bad UTF-8 is reported at the line before it
                if not isinstance(row, dict):
                    raise ValueError("it is not an object")
                yield row
        except (ValueError, RecursionError) as error:
            raise StimulusError(
                f"{str(path)!r} cannot be read at line {number}: {error}. "
                "Expected one JSON object per line, in UTF-8."
            ) from None


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            for row in csv.DictReader(lines, strict=True):
                siblings = row.get("siblings")
                yield {**row, "siblings": json.loads(siblings) if siblings else None}
        except (ValueError, csv.Error) as error:
            raise StimulusError(
                f"{str(path)!r} cannot be read: {error}. Expected comma-separated values with a "
                "header line, in UTF-8."
            ) from None
