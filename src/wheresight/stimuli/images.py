"""Decode pictures nobody vouches for: bytes or a file in, an RGB picture or one clear error out."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from wheresight.errors import StimulusError

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000  # below the size at which Pillow itself begins to warn
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_DEEP_MODES = ("I", "F")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}


def read_file(path: Path, name: str) -> bytes:
    """Return the bytes of an image file, after its size was looked at.

    Raises:
        StimulusError: if there is no such file, or it is larger than MAX_BYTES.
    """
    try:
        check_size(path.stat().st_size, name)
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StimulusError(
            f"The image of {name!r} cannot be read from {str(path)!r}: {reason}. Expected an image "
            "file there: put it back, or take its row out of the metadata."
        ) from None


def check_size(size: int, name: str) -> None:
    """Raise StimulusError if an encoded image of `size` bytes is too large to be read."""
    if size > MAX_BYTES:
        raise StimulusError(
            f"The image of {name!r} is {size:,} bytes, and at most {MAX_BYTES:,} are read. Save it "
            "smaller."
        )


def decode(data: bytes, name: str) -> Image.Image:
    """Decode one encoded picture to RGB, upright, transparency laid on white.

    Palette, black-and-white, grey and transparent pictures are converted; that is exact. CMYK and
    16-bit pictures are refused, as any conversion would choose pixel values on the user's behalf.
    Colour profiles and gamma are ignored, as they are by the processors of transformers.

    Args:
        data: the bytes of a PNG, JPEG, WebP, GIF or BMP file with one frame.
        name: what to call the picture in errors: the id of its pair.

    Returns:
        A picture of mode RGB, at full size, its pixels already in memory.

    Raises:
        StimulusError: if the picture is empty, truncated, damaged, of another format, animated,
            CMYK, 16-bit, or has more than MAX_PIXELS pixels.
    """
    if not data:
        raise StimulusError(
            f"The image of {name!r} is empty (0 bytes). Expected an image file: replace it."
        )
    check_size(len(data), name)
    picture = _open(data, name)
    _check_header(picture, data, name)
    turn = _orientation(picture)
    try:
        if picture.format == "PNG":  # Pillow checks the checksums of pixels only when told to
            Image.open(BytesIO(data), formats=FORMATS).verify()
        picture.load()
        flat = _on_white(picture)
    except Exception as error:  # Pillow's decoders raise many types on damaged data
        raise StimulusError(
            f"The image of {name!r} is truncated or damaged: {_reason(error)}. Expected a whole "
            f"{picture.format} file: fetch or save it again."
        ) from None
    for step in _UPRIGHT.get(turn, ()):
        flat = flat.transpose(step)
    return flat


def _open(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise StimulusError(
            f"The image of {name!r} claims a size that is far beyond the {MAX_PIXELS:,} pixels "
            "that are decoded (a decompression bomb?). Leave it out, or save it smaller."
        ) from None
    except Exception as error:  # as above: the header may be damaged in any way
        raise StimulusError(
            f"The image of {name!r} cannot be decoded: {_reason(error)}. Expected a whole file in "
            f"one of the formats {', '.join(FORMATS)}: save it again in one of these."
        ) from None


def _check_header(picture: Image.Image, data: bytes, name: str) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise StimulusError(
            f"The image of {name!r} is {width} x {height} pixels. Expected at least 1 x 1: "
            "replace it."
        )
    if width * height > MAX_PIXELS:
        raise StimulusError(
            f"The image of {name!r} is {width:,} x {height:,} pixels, and at most "
            f"{MAX_PIXELS:,} are decoded (a decompression bomb?). Leave it out, or save it smaller."
        )
    # Phones write MPO: a JPEG with a second view behind it. The first view is the picture.
    if picture.format != "MPO" and _is_animated(picture, name):
        raise StimulusError(
            f"The image of {name!r} is animated. Expected one still picture: save the frame that "
            "its caption describes as PNG."
        )
    if picture.mode == "CMYK":
        raise StimulusError(
            f"The image of {name!r} is CMYK, made for print. Expected RGB: convert it with a "
            'colour profile of your choice, or plainly with Image.open(p).convert("RGB").save(png).'
        )
    is_deep = picture.mode.startswith(_DEEP_MODES)
    # Pillow reads 16-bit RGB as 8-bit without a word, so the header of the PNG is asked.
    if is_deep or (picture.format == "PNG" and data[12:16] == b"IHDR" and data[24] == 16):
        raise StimulusError(
            f"The image of {name!r} has 16 or more bits per channel. Expected 8: scale it to the "
            "range 0 to 255 as its content asks (divide by 257 for full-range data) and save it "
            "as PNG."
        )


def _is_animated(picture: Image.Image, name: str) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception as error:  # GIF frames are parsed here for the first time
        raise StimulusError(
            f"The image of {name!r} is truncated or damaged: {_reason(error)}. Expected a whole "
            f"{picture.format} file: fetch or save it again."
        ) from None


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block leaves the pixels good: taken as upright
        return 1


def _on_white(picture: Image.Image) -> Image.Image:
    if "transparency" not in picture.info and not picture.mode.endswith(("A", "a")):
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "BytesIO" in text:
        return "it is not an image of a known format, or its header is damaged"
    return text.rstrip(".")[:200]
