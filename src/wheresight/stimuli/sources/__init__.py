"""Sources of image-caption pairs, opened by a spec: `KIND:LOCATION`, or a bare path.

A new kind is one file with a function `open(location, options) -> Source` and one line in
`SOURCES`; third parties register theirs through the entry-point group `wheresight.sources`.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import fields, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.sources.options import Options

__all__ = ["Options", "kinds", "open_source"]

SOURCES = {
    "pocket": "wheresight.stimuli.sources.pocket:open",
    "folder": "wheresight.stimuli.sources.imagefolder:open",
    "parquet": "wheresight.stimuli.sources.parquet:open",
    "dataset": "wheresight.stimuli.sources.hub:open",
    "webdataset": "wheresight.stimuli.sources.webdataset:open",
}
_OPTIONS = re.compile(
    r"(.*)#((?:(?:image|caption|sample|seed|skip_bad)=[^,#]*)(?:,[^,#]*)*)", re.DOTALL
)


def kinds() -> dict[str, str]:
    """Kinds of sources and the `module:function` behind each, those of plug-ins included."""
    found = {e.name: e.value for e in entry_points(group="wheresight.sources")}
    return {**found, **SOURCES}


def open_source(
    spec: str,
    *,
    image_column: str | None = None,
    caption_column: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> Source:
    """Open a source of image-caption pairs.

    The spec is `pocket` (ships with the package), `folder:PATH` (images with metadata.jsonl or
    metadata.csv), `parquet:PATH` (file, folder or glob), `dataset:NAME_OR_PATH[@SPLIT]` (a saved
    or hub dataset), `webdataset:PATTERN` (tar shards, `{00000..00099}` and globs), or a bare path,
    whose kind is then guessed. Columns `id`, `group` and `siblings` are read where there are any.
    The name of the opened source can be given as spec again: it carries these options, as in
    `webdataset:a.tar#sample=100,seed=3`.

    Args:
        spec: what to open.
        image_column: column of the images; default `image` (`file_name` in a folder).
        caption_column: column of the captions; default is the first of a few usual names.
        sample: take so many pairs: those with the smallest hashes of seed and id, in this order.
            So a sample depends neither on the order nor on the number of shards (as long as ids
            do not: without a column `id`, Parquet and datasets count rows), and a smaller sample
            is the beginning of a larger one.
        seed: of the sample.
        skip_bad: pass over pairs whose caption or image cannot be used (every image is decoded
            once, now) and list why in the source's `skipped`; others of the sample's order take
            their places. By default the first bad caption is an error, and so is a bad image when
            it is asked for.

    Raises:
        StimulusError: unknown kind or column, nothing there, a caption that cannot be used, fewer
            pairs than the sample needs. Images are looked at when they are asked for.
    """
    options = Options(image_column, caption_column, sample, seed, skip_bad)
    match = _OPTIONS.fullmatch(spec)
    if match is not None and not Path(spec).exists():
        spec, options = match[1], _read_options(spec, match[2], options)
    kind, location = _split(spec)
    module, _, function = kinds()[kind].partition(":")
    return cast(Source, getattr(importlib.import_module(module), function)(location, options))


def _split(spec: str) -> tuple[str, str]:
    known = kinds()
    kind, colon, location = spec.partition(":")
    if kind in known:
        if not colon and kind != "pocket":
            raise StimulusError(
                f"The source {spec!r} names no place. Expected {kind}:PATH_OR_NAME."
            )
        return kind, location
    path = Path(spec).expanduser()
    if path.suffix == ".tar":
        return "webdataset", spec
    if path.suffix == ".parquet":
        return "parquet", spec
    if path.is_dir():
        return _guess_folder(path), spec
    raise StimulusError(
        unknown_name("source", kind, known)
        + " Expected KIND:PLACE, or the path of an existing folder, .parquet file or .tar shard."
    )


def _guess_folder(path: Path) -> str:
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        return "dataset"
    has_metadata = any((path / f"metadata.{end}").is_file() for end in ("jsonl", "csv"))
    if not has_metadata:
        for pattern, kind in (("*.parquet", "parquet"), ("*.tar", "webdataset")):
            if next(path.glob(pattern), None) is not None:
                return kind
    return "folder"


def _read_options(spec: str, text: str, options: Options) -> Options:
    given = dict(part.partition("=")[::2] for part in text.split(","))
    changes: dict[str, Any] = {}
    try:
        changes |= {
            name: int(given.pop(name)) for name in ("sample", "seed", "skip_bad") if name in given
        }
    except ValueError:
        raise StimulusError(
            f"The source {spec!r} has a sample, seed or skip_bad that is no whole number. Expected "
            "such as PATH#sample=100,seed=3."
        ) from None
    changes |= {name: unquote(given.pop(name)) for name in ("image", "caption") if name in given}
    if given:
        raise StimulusError(
            unknown_name("source option", next(iter(given)), (f.name for f in fields(Options)))
        )
    if "skip_bad" in changes:
        changes["skip_bad"] = bool(changes["skip_bad"])
    return replace(options, **changes)
