"""Parquet files with a column of images (encoded bytes) and one of captions."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wheresight.errors import StimulusError
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.recent import Recent
from wheresight.stimuli.sources.lazy import assemble, pair_from_row
from wheresight.stimuli.sources.options import Options

KEPT_BYTES = 256 * 2**20
_ROWS = 4096
_OPEN_FILES = 32

Place = tuple[int, int, int]  # file, row group, row in the group


def open(location: str, options: Options) -> Source:
    """Open a Parquet file, a folder of them, or a glob.

    Images are bytes, or structs with a field `bytes` as the datasets library writes them. The id
    is the column `id`, or else the file's stem and the row: `train-00000:17`.
    """
    place = Path(location).expanduser()
    if place.is_dir():
        found = sorted(place.rglob("*.parquet"))
    elif place.is_file():
        found = [place]
    else:
        found = sorted(map(Path, glob.glob(str(place), recursive=True)))
    if not found:
        raise StimulusError(
            f"There is no Parquet file at {location!r}. Expected a file, a folder or a glob."
        )
    return open_files(found, options.name(f"parquet:{location}"), options)


def open_files(files: Sequence[Path], name: str, options: Options) -> Source:
    """Open these Parquet files as one source: texts are read now, images when asked for."""
    table = _Table(files, options)
    rows = options.select(table.rows(), lambda row: row[0], f"The source {name!r}")
    places = {pair_id: place for pair_id, place, _ in rows}
    return assemble(
        name,
        rows,
        lambda row: pair_from_row(row[0], row[2][table.caption], row[2]),
        lambda pair_id: table.image(pair_id, places[pair_id]),
        options,
        read_order=sorted(places, key=places.__getitem__),
    )


class _Table:
    """Rows of several Parquet files."""

    def __init__(self, files: Sequence[Path], options: Options) -> None:
        self.files = list(files)
        self._opened: Recent[int, Any] = Recent(self._file, lambda _: 1, _OPEN_FILES)
        self._groups = Recent(self._images, lambda column: int(column.nbytes), KEPT_BYTES)
        columns = self._opened[0].schema_arrow.names
        where = f"{str(self.files[0])!r}"
        self.image_column = options.image_column(columns, where)
        self.caption = options.caption_column(columns, where)

    def rows(self) -> Iterator[tuple[str, Place, dict[str, Any]]]:
        for index in range(len(self.files)):
            with _refusing(self.files[index]):
                yield from self._rows(index)

    def _rows(self, index: int) -> Iterator[tuple[str, Place, dict[str, Any]]]:
        path = self.files[index]
        opened = self._opened[index]
        names = opened.schema_arrow.names
        missing = {self.image_column, self.caption} - set(names)
        if missing:
            raise StimulusError(
                f"{str(path)!r} has no column {', '.join(sorted(missing))}, unlike the first "
                "file. Expected files with the same columns: open them apart."
            )
        wanted = [n for n in dict.fromkeys((self.caption, "id", "group", "siblings")) if n in names]
        count = 0
        for group in range(opened.num_row_groups):
            in_group = 0
            for batch in opened.iter_batches(_ROWS, row_groups=[group], columns=wanted):
                for row in batch.to_pylist():
                    given = row.get("id")
                    pair_id = f"{path.stem}:{count}" if given is None else str(given)
                    yield pair_id, (index, group, in_group), row
                    count += 1
                    in_group += 1

    def image(self, pair_id: str, place: Place) -> bytes:
        index, group, row = place
        value = self._groups[index, group][row].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise StimulusError(
                f"The image of {pair_id!r} in {str(self.files[index])!r} is not stored in the "
                f"column {self.image_column!r} (found {type(value).__name__}). Expected encoded "
                "bytes, or a struct with a field bytes: name the right column with --image-column."
            )
        return value

    def _images(self, place: tuple[int, int]) -> Any:
        index, group = place
        with _refusing(self.files[index]):
            opened = self._opened[index]
            return opened.read_row_group(group, columns=[self.image_column]).column(0)

    def _file(self, index: int) -> Any:
        import pyarrow.parquet as pq

        with _refusing(self.files[index]):
            return pq.ParquetFile(self.files[index])


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into a StimulusError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".:")[:200]
        raise StimulusError(
            f"{str(path)!r} cannot be read as Parquet: {reason}. Expected a whole Parquet file: "
            "fetch or write it again."
        ) from None
