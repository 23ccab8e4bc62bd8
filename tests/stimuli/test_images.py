"""Every bad picture is refused in one clear sentence; every good one keeps its pixels."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli import images


def encode(picture: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (32, 24)) -> Image.Image:
    drawn = "L" if mode == "1" else "RGBA" if mode == "P" else mode
    channels = len(Image.new(drawn, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(values.squeeze(), drawn).convert(mode)


WHOLE = {format: encode(noise(), format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP")}


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def refused(data: bytes, *words: str) -> None:
    with pytest.raises(StimulusError) as caught:
        images.decode(data, "dogs/7")
    message = str(caught.value)
    assert "'dogs/7'" in message
    assert "BytesIO" not in message
    assert re.search(r"\. [A-Z].*\.$", message), message
    for word in words:
        assert word in message


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_truncated_pictures_are_refused(format: str) -> None:
    whole = encode(noise(size=(200, 200)), format)
    images.decode(whole, "whole")
    for part in (0.3, 0.6, 0.9):
        refused(whole[: int(len(whole) * part)], "whole")


def test_a_header_alone_is_refused() -> None:
    refused(encode(noise(), "PNG")[:20])


def test_an_empty_file_is_refused() -> None:
    refused(b"", "empty", "0 bytes")


def test_what_is_no_picture_is_refused() -> None:
    refused(b"<html>404 not found</html>", "not an image", "PNG")


def test_pixels_that_miss_their_checksum_are_refused() -> None:
    data = bytearray(encode(noise(), "PNG"))
    data[60:90] = bytes(30)
    refused(bytes(data), "damaged")


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_animated_pictures_are_refused(format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    refused(data, "animated", "frame")


def test_cmyk_is_refused_with_the_way_to_convert() -> None:
    refused(encode(noise("CMYK"), "JPEG"), "CMYK", '.convert("RGB")')


def test_16_bit_grey_is_refused() -> None:
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    refused(encode(deep, "PNG"), "16", "257")


def test_16_bit_rgb_that_pillow_would_cut_silently_is_refused() -> None:
    row = b"\0" + bytes(range(6)) * 4
    data = png_of(4, 4, 16, 2, row * 4)
    assert Image.open(io.BytesIO(data)).mode == "RGB"
    refused(data, "16", "257")


@pytest.mark.parametrize(
    ("width", "height"), [(7_100, 7_100), (9_500, 9_500), (12_000, 12_000), (60_000, 60_000)]
)
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(png_of(width, height, 8, 2, b""), "bomb", "50,000,000")


def test_a_text_bomb_inside_a_png_is_refused() -> None:
    bomb = b"key\0\0" + zlib.compress(bytes(50_000_000))
    whole = encode(noise(), "PNG")
    data = whole[:33] + png_chunk(b"zTXt", bomb) + whole[33:]
    refused(data, "too large")


def test_zero_size_is_refused() -> None:
    refused(png_of(0, 4, 8, 2, b""))


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as stream:
        stream.truncate(images.MAX_BYTES + 1)
    with pytest.raises(StimulusError, match="at most"):
        images.read_file(path, "big")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match=r"no\.png"):
        images.read_file(tmp_path / "no.png", "a")


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="cannot be read"):
        images.read_file(tmp_path, "a")


@pytest.mark.filterwarnings("ignore")
@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20),
    st.floats(0.05, 1),
)
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_give_a_picture_or_a_clear_error(
    format: str, changes: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(WHOLE[format][: max(1, int(len(WHOLE[format]) * kept))])
    for place, value in changes:
        data[min(len(data) - 1, int(place * len(data)))] = value
    try:
        picture = images.decode(bytes(data), "dogs/7")
    except StimulusError as error:
        message = str(error)
    else:
        assert picture.mode == "RGB"
        return
    assert "'dogs/7'" in message


def test_rgb_pixels_are_kept_exactly() -> None:
    picture = noise()
    assert np.array_equal(images.decode(encode(picture, "PNG"), "a"), picture)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_other_modes_become_rgb(mode: str) -> None:
    picture = noise(mode)
    decoded = images.decode(encode(picture, "PNG"), "a")
    assert decoded.mode == "RGB"
    if mode in ("1", "L"):
        assert np.array_equal(decoded, picture.convert("RGB"))


def test_transparency_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (10, 20, 30, 255))
    decoded = images.decode(encode(picture, "PNG"), "a")
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.getpixel((1, 0)) == (10, 20, 30)


def test_a_transparent_palette_is_laid_on_white() -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.putpixel((1, 0), 1)
    decoded = images.decode(encode(picture, "PNG", transparency=0), "a")
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.getpixel((1, 0)) == (200, 0, 0)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(turn: int) -> None:
    from PIL import ImageOps

    picture = noise(size=(5, 3))
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(picture, "PNG", exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(images.decode(data, "a"), wanted)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_leaves_the_picture_upright() -> None:
    picture = noise(size=(5, 3))
    data = encode(picture, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert images.decode(data, "a").size == (5, 3)


def test_the_first_view_of_a_phone_picture_is_taken() -> None:
    data = encode(noise(), "MPO", save_all=True, append_images=[noise()])
    assert images.decode(data, "a").size == (32, 24)
