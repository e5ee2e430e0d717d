"""Reads one picture file, of any format that Pillow decodes safely, as 8-bit pixels."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from jaxae.errors import may_pass, unreadable

# All of Pillow's formats except those that start programs (EPS), hand the file to other libraries
# (BUFR, GRIB, HDF5, WMF), open any format inside (IPTC), or have no signature, so that other files
# are taken for pictures (IM, IMT, PCD, SPIDER). TGA has none either, but strict checks: it is last.
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "CUR", "ICNS"),
    *("DIB", "DDS", "PCX", "DCX", "PSD", "QOI", "SGI", "SUN", "MSP", "XBM", "XPM", "FLI", "BLP"),
    *("FTEX", "PIXAR", "GBR", "XVTHUMB", "TGA"),
)
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_SIXTEEN_BITS = ("PPM", "PNG")  # formats whose pixels of Pillow's mode I are of 16 bits
_ORIENTATION = 0x0112  # EXIF's tag
_OVERSAMPLING = 2  # a JPEG is decoded at this many times its final size or more, as Pillow does


class UnreadableError(ValueError):
    """A file that cannot be read as a picture; the message is a short reason."""


class Source(Protocol):
    """Where a picture is, such as a `Path`."""

    def open(self, mode: Literal["rb"], /) -> io.BufferedReader:
        """Opens the picture's file; may raise `UnreadableError`."""
        ...


@dataclass(frozen=True)
class Header:
    """What a picture's file says before its pixels.

    Attributes:
      height: in pixels, after rotation by EXIF; so is the width.
      gray: whether the pixels are gray; None if that depends on a palette.
    """

    height: int
    width: int
    gray: bool | None


@dataclass(frozen=True)
class Target:
    """What pictures are turned into.

    fit: how a picture of other proportions gets this height and width; None: it is unreadable.
    """

    height: int
    width: int
    channels: Literal[1, 3]
    fit: Literal["crop", "pad", "stretch"] | None
    background: Literal["white", "black"]


@dataclass(frozen=True)
class Decoded:
    """The pixels of a picture, uint8 [H, W, C], and whether it had transparent ones."""

    pixels: np.ndarray
    transparent: bool


def read_header(source: Source) -> Header:
    """Reads a picture's size and kind without its pixels; raises `UnreadableError`."""
    with _opened(source) as file:
        width, height = file.size
        if _orientation(file) >= 5:  # turned by 90 degrees
            width, height = height, width
        gray = None if file.mode in ("P", "PA") else file.mode in _GRAY_MODES
        return Header(height, width, gray)


def has_gray_palette(source: Source) -> bool:
    """Returns whether all colors in the palette of a picture are gray; raises `UnreadableError`."""
    with _opened(source) as file:
        colors = np.array(file.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())


def decode(source: Source, target: Target) -> Decoded:
    """Decodes a picture, the first frame of an animated one.

    It is turned as its EXIF orientation says. Pixels of 16 bits keep their upper eight. Transparent
    pixels are drawn over the target's background; Pillow ignores the transparent color of a PNG of
    16-bit colors, and of 4 bits of gray or fewer. Pillow converts colors, to gray as 0.299 R +
    0.587 G + 0.114 B, and ignores color profiles. Sizes change by Pillow's antialiased bicubic
    filter; before, the decoder of JPEG halves pictures of four times the target's size or more.

    Raises `UnreadableError` for damaged and truncated files, too many pixels, and pixels of floats
    or of 32-bit integers, whose range is unknown.
    """
    with _opened(source) as file:
        if file.format in ("JPEG", "MPO"):
            _decode_smaller(file, target)
        file.load()
        image, transparent = _without_alpha(_in_eight_bits(file), target.background)
        image = image.convert("L" if target.channels == 1 else "RGB")
        image = _resize(_turn(image, _orientation(file)), target)
        shape = (target.height, target.width, target.channels)
        return Decoded(np.asarray(image).reshape(shape), transparent)


def same_proportions(height: int, width: int, target_height: int, target_width: int) -> bool:
    """Returns whether resizing changes proportions by half a pixel of the target at most."""
    return 2 * abs(height * target_width - width * target_height) <= min(height, width)


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Any]:
    """Opens a picture, and raises `UnreadableError` for whatever goes wrong with its file.

    Raises `UserError` for failures of the system that may pass, such as a lack of memory.
    """
    from PIL import Image

    Image.init()
    known = [name for name in _FORMATS if name in Image.OPEN]
    try:
        # Given a path, Pillow would map some files into memory, which must then not shrink.
        with source.open("rb") as stream:
            if not stream.peek(1):
                raise UnreadableError("it is empty")
            with Image.open(stream, formats=known) as file:
                _check(file)
                yield file
    except UnreadableError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        if may_pass(error) and not isinstance(error, PermissionError):
            raise unreadable(Path(str(source)), error) from None
        raise UnreadableError(_reason(error)) from None


def _check(file: Any) -> None:
    """Raises `UnreadableError` for pictures that are too large, or of pixels without a range."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS  # up to twice as many Pillow only warns
    if limit is not None and file.width * file.height > limit:
        raise Image.DecompressionBombError
    if file.mode == "F":
        raise UnreadableError("its pixels are floats, whose range is unknown: save 8 or 16 bits")
    if file.mode == "I" and file.format not in _SIXTEEN_BITS:
        raise UnreadableError("its pixels have 32 bits, whose range is unknown: save 8 or 16")


def _reason(error: Exception) -> str:
    """Returns a short reason, without the place of the file."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()).rstrip(".")[:100]
    return f"damaged: {text or type(error).__name__}"


def _orientation(file: Any) -> int:
    """Returns the EXIF orientation that is still to be applied, from 1 to 8."""
    from PIL import Image

    if file.format == "TIFF":  # Pillow turns it, and gives its size as turned
        return 1
    try:
        # PNG's own method decodes all pixels first, to find EXIF data behind them.
        value = Image.Image.getexif(file).get(_ORIENTATION)
    except Exception:  # the picture itself may be intact
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(image: Any, orientation: int) -> Any:
    """Returns an image as its EXIF orientation says."""
    from PIL.Image import Transpose

    methods = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(methods[orientation]) if orientation in methods else image


def _decode_smaller(file: Any, target: Target) -> None:
    """Has the decoder of JPEG halve a large picture up to three times, which is faster."""
    height, width = target.height, target.width
    if _orientation(file) >= 5:
        height, width = width, height
    scale = _OVERSAMPLING * max(height / file.height, width / file.width)
    file.draft(None, (math.ceil(file.width * scale), math.ceil(file.height * scale)))


def _in_eight_bits(file: Any) -> Any:
    """Returns a decoded file as an image of mode L, LA, RGB or RGBA."""
    from PIL import Image, ImageCms

    if file.mode.startswith("I"):
        pixels = np.asarray(file)
        gray = Image.fromarray((pixels >> 8).astype(np.uint8))
        if "transparency" not in file.info:
            return gray
        opaque = pixels != file.info["transparency"]
        return Image.merge("LA", (gray, Image.fromarray(opaque.astype(np.uint8) * 255)))
    if file.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(file, *profiles, outputMode="RGB")
    if file.has_transparency_data:
        return file.convert("RGBA")
    return file.convert("L" if file.mode in _GRAY_MODES else "RGB")


def _without_alpha(image: Any, background: str) -> tuple[Any, bool]:
    """Returns an image drawn over a background, and whether any of its pixels is transparent."""
    from PIL import Image

    if not image.mode.endswith("A") or image.getchannel("A").getextrema()[0] == 255:
        return image, False
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image.convert("RGBA")), True


def _resize(image: Any, target: Target) -> Any:
    """Returns an image of mode L or RGB in the target's height and width."""
    from PIL import Image, ImageOps

    size, (width, height) = (target.width, target.height), image.size
    if image.size == size:
        return image
    kept = same_proportions(height, width, target.height, target.width)
    if target.fit is None and not kept:
        raise UnreadableError(f"it has {height}x{width} pixels, which its header did not say")
    if target.fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    if target.fit == "pad" and not kept:
        scale = min(target.width / width, target.height / height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new(image.mode, size)  # black
        corner = ((target.width - inner[0]) // 2, (target.height - inner[1]) // 2)
        canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), corner)
        return canvas
    return image.resize(size, Image.Resampling.BICUBIC)
