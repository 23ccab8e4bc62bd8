"""WebDataset tar shards as img2dataset writes them: 000000000.jpg, .txt and .json per sample.

Shards are never unpacked: one pass over the headers finds where each member lies, and its bytes
are read from there when they are needed. So a sample of millions costs the headers and the sample.
"""

from __future__ import annotations

import glob
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wheresight.errors import StimulusError
from wheresight.stimuli import images
from wheresight.stimuli.pairs import Pair, Source
from wheresight.stimuli.sources.lazy import assemble, pair_from_row
from wheresight.stimuli.sources.options import CAPTION_COLUMNS, Options

IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp")
MAX_TEXT_BYTES = 2**20
MAX_SHARDS = 100_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")

Place = tuple[Path, int, int]  # shard, offset, size


class _Headers(io.FileIO):
    """A tar of which only headers are read: one that claims to be huge is not taken to memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_TEXT_BYTES:
            raise tarfile.ReadError(f"a header claims to be {size:,} bytes long")
        return super().read(size)


@dataclass(slots=True)
class _Sample:
    key: str
    members: dict[str, Place] = field(default_factory=dict)


def open(location: str, options: Options) -> Source:
    """Open local tar shards: a file, a folder, a glob, or a brace pattern such as {00000..00099}.

    The id is the sample's key in the tar, which img2dataset counts through all shards of one run.
    The caption is the .txt member; another column is a key of the .json member. Samples without an
    image are left out. `image` names the ending of the image member where a sample has several.
    """
    shards = expand(location)
    spec = options.name(f"webdataset:{location}")
    endings = IMAGE_ENDINGS if options.image in (None, "image") else (options.image,)
    samples = (
        sample for shard in shards for sample in _scan(shard) if _image(sample, endings) is not None
    )
    try:
        chosen = options.select(samples, lambda sample: sample.key, f"The source {spec!r}")
    except StimulusError as error:
        if "holds no pairs" not in str(error):
            raise
        raise StimulusError(
            f"The {len(shards)} shards of {location!r} hold no image members (endings "
            f"{', '.join(endings)}). Expected samples such as 000000000.jpg with 000000000.txt."
        ) from None
    places = {sample.key: _image(sample, endings) for sample in chosen}

    def make(sample: _Sample) -> Pair:
        fields = _json(sample)
        return pair_from_row(sample.key, _caption(sample, fields, options), fields)

    def read(pair_id: str) -> bytes:
        place = places[pair_id]
        assert place is not None
        images.check_size(place[2], pair_id)
        return _bytes(place)

    order = sorted(places, key=lambda name: places[name] or (Path(), 0, 0))
    return assemble(spec, chosen, make, read, options, read_order=order)


def expand(pattern: str) -> list[Path]:
    """Return the shards that a pattern names, sorted; each must exist.

    Raises:
        StimulusError: if the pattern is a URL or command, or names no file or a missing one.
    """
    if pattern.startswith("pipe:") or "://" in pattern:
        raise StimulusError(
            f"The shards {pattern!r} are not local. Expected paths: download the shards first."
        )
    place = Path(pattern).expanduser()
    if place.is_dir():
        found = sorted(place.glob("*.tar"))
    elif place.is_file():
        found = [place]
    else:
        found = []
        for name in _braces(str(place)):
            if any(sign in name for sign in "*?["):
                found.extend(map(Path, glob.glob(name, recursive=True)))
            else:
                found.append(Path(name))
        found = sorted(set(found))
    if not found:
        raise StimulusError(
            f"There is no tar shard at {pattern!r}. Expected a file, a folder, a glob, or braces "
            "such as {00000..00099}.tar."
        )
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise StimulusError(
            f"{len(missing)} of the {len(found)} shards of {pattern!r} do not exist, the first "
            f"being {str(missing[0])!r}. Fetch them, or narrow the pattern."
        )
    return found


def _braces(pattern: str) -> list[str]:
    if match := _RANGE.search(pattern):
        first, last = int(match[1]), int(match[2])
        count = abs(last - first) + 1
        step = 1 if last >= first else -1
        width = max(len(match[1]), len(match[2])) if match[1].startswith("0") else 0
        parts = [str(n).zfill(width) for n in range(first, last + step, step)[: MAX_SHARDS + 1]]
    elif match := _CHOICE.search(pattern):
        parts = match[1].split(",")
        count = len(parts)
    else:
        return [pattern]
    found: list[str] = []
    for part in parts:
        found += _braces(pattern[: match.start()] + part + pattern[match.end() :])
        if max(count, len(found)) > MAX_SHARDS:
            raise StimulusError(
                f"The pattern {pattern!r} names more than {MAX_SHARDS:,} shards. Narrow it."
            )
    return found


def _scan(shard: Path) -> Iterator[_Sample]:
    """Yield the samples of one shard from its headers alone; members of a sample are neighbours."""
    sample = _Sample("")
    for name, place in _members(shard):
        key, ending = _split(name)
        if key != sample.key:
            if sample.members:
                yield sample
            sample = _Sample(key)
        sample.members[ending] = place
    if sample.members:
        yield sample


def _members(shard: Path) -> Iterator[tuple[str, Place]]:
    try:
        with _Headers(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it would keep every header
                if member.isdir():
                    continue
                _check_member(member, shard)
                yield member.name, (shard, member.offset_data, member.size)
            _check_end(stream, tar.offset, shard)
    except (tarfile.TarError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise StimulusError(
            f"The shard {str(shard)!r} cannot be read: {reason}. Expected a whole uncompressed "
            "tar: fetch it again, or unpack its compression."
        ) from None


def _check_member(member: tarfile.TarInfo, shard: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise StimulusError(
            f"The shard {str(shard)!r} has a member named {member.name!r}, which points outside. "
            "Nothing is unpacked, but no honest writer makes such names: do not use this shard."
        )
    if not member.isreg() or member.issparse():
        raise StimulusError(
            f"The shard {str(shard)!r} has a member {member.name!r} that is a link, a device or a "
            "sparse file. Expected plain files: write the shard again without it."
        )


def _check_end(stream: io.FileIO, offset: int, shard: Path) -> None:
    """A damaged header, or none at all, ends an archive for tarfile; a true end is a zero block."""
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise StimulusError(
            f"The shard {str(shard)!r} is damaged or truncated: at byte {offset:,} there is "
            "neither a member nor the block of zeros that ends a tar. Fetch or write it again."
        )


def _split(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


def _image(sample: _Sample, endings: tuple[str, ...]) -> Place | None:
    return next((sample.members[end] for end in endings if end in sample.members), None)


def _bytes(place: Place) -> bytes:
    shard, offset, size = place
    with shard.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(size)
    if len(data) != size:
        raise StimulusError(
            f"The shard {str(shard)!r} has changed or is truncated: {size:,} bytes were expected "
            f"at {offset:,}, {len(data):,} are there. Fetch it again."
        )
    return data


def _text(sample: _Sample, ending: str) -> str:
    place = sample.members[ending]
    if place[2] > MAX_TEXT_BYTES:
        raise StimulusError(
            f"The .{ending} member of {sample.key!r} is {place[2]:,} bytes, and at most "
            f"{MAX_TEXT_BYTES:,} are read. Leave the sample out."
        )
    try:
        return _bytes(place).decode("utf-8")
    except UnicodeDecodeError:
        raise StimulusError(
            f"The .{ending} member of {sample.key!r} is not text in UTF-8. Leave the sample out."
        ) from None


def _json(sample: _Sample) -> dict[str, object]:
    if "json" not in sample.members:
        return {}
    try:
        fields = json.loads(_text(sample, "json"))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise StimulusError(
            f"The .json member of {sample.key!r} is not a JSON object. Leave the sample out."
        )
    return fields


def _caption(sample: _Sample, fields: dict[str, object], options: Options) -> object:
    """The caption asked for; by default the .txt member, then the usual names in the .json."""
    if options.caption in (None, "txt", "caption", "text") and "txt" in sample.members:
        return _text(sample, "txt")
    if options.caption is not None:
        columns = [*fields, *(["txt"] if "txt" in sample.members else [])]
        return fields[options.caption_column(columns, f"the sample {sample.key!r}")]
    return next((fields[name] for name in CAPTION_COLUMNS if fields.get(name) is not None), None)
