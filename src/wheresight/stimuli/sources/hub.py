"""Any dataset that the datasets library reads: saved to disk, or by its name on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli import images
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.sources.lazy import assemble, pair_from_row
from wheresight.stimuli.sources.options import Options


def open(location: str, options: Options) -> Source:
    """Open `NAME_OR_PATH[@SPLIT]`: a folder that save_to_disk wrote, or what load_dataset takes.

    The split may be left out if there is only one. Code that comes with a dataset is never run.
    The id is the column `id`, or else the row's number. Hub datasets are downloaded whole, to the
    cache of the datasets library, and their revision is not pinned: the fingerprint tells.
    """
    table = _load(location)
    columns = list(table.column_names)
    where = f"the dataset {location!r}"
    image_column = options.image_column(columns, where)
    caption = options.caption_column(columns, where)
    pictures = table.select_columns([image_column])
    if type(table.features[image_column]).__name__ == "Image":
        from datasets import Image

        pictures = pictures.cast_column(image_column, Image(decode=False))
    wanted = [n for n in dict.fromkeys((caption, "id", "group", "siblings")) if n in columns]

    def rows() -> Iterator[tuple[str, int, dict[str, Any]]]:
        for number, row in enumerate(table.select_columns(wanted)):
            given = row.get("id")
            yield str(number if given is None else given), number, row

    spec = options.name(f"dataset:{location}")
    chosen = options.select(rows(), lambda row: row[0], f"The source {spec!r}")
    numbers = {pair_id: number for pair_id, number, _ in chosen}
    return assemble(
        spec,
        chosen,
        lambda row: pair_from_row(row[0], row[2][caption], row[2]),
        lambda pair_id: _encoded(pictures[numbers[pair_id]][image_column], pair_id),
        options,
        read_order=sorted(numbers, key=numbers.__getitem__),
    )


def _encoded(value: object, pair_id: str) -> bytes:
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), bytes):
            return bytes(value["bytes"])
        path = value.get("path")
        if isinstance(path, str) and "://" not in path:
            return images.read_file(Path(path), pair_id)
    if isinstance(value, bytes):
        return value
    raise StimulusError(
        f"The image of {pair_id!r} is stored as {type(value).__name__} without bytes or a local "
        "path. Expected a column of the feature Image, or of encoded bytes: name it with "
        "--image-column."
    )


def _load(location: str) -> Any:
    import datasets

    place, at, split = location, "", ""
    if not Path(location).expanduser().exists():
        place, at, split = location.rpartition("@") if "@" in location else (location, "", "")
    path = Path(place).expanduser()
    saved = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        if saved:
            found = datasets.load_from_disk(str(path))
        else:
            found = datasets.load_dataset(str(path) if path.exists() else place)
    except Exception as error:  # builders and the hub client raise many types
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise StimulusError(
            f"The dataset {place!r} could not be loaded: {type(error).__name__}: {reason}. "
            "Expected a folder that save_to_disk wrote, or the name of a hub dataset; without a "
            "network, download it elsewhere and give its folder."
        ) from None
    if not isinstance(found, dict):
        if at:
            raise StimulusError(f"The dataset {place!r} has no splits. Leave out '@{split}'.")
        return found
    if not at and len(found) == 1:
        return next(iter(found.values()))
    if not at:
        raise StimulusError(
            f"The dataset {place!r} has the splits {', '.join(found)}. Choose one, such as "
            f"dataset:{place}@{next(iter(found))}."
        )
    if split not in found:
        raise StimulusError(unknown_name("split", split, found))
    return found[split]
