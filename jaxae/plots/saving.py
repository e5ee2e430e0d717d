"""Pictures as PNG and animations as GIF, each with its caption, whole or not at all."""

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, PngImagePlugin

from jaxae.errors import UserError
from jaxae.files import whole
from jaxae.plots.grids import tile
from jaxae.plots.text import line_height, load_font, wrap

_SMALLEST = 140  # pixels across; smaller images are enlarged by whole pixels up to this
_NARROWEST = 160  # pixels of a caption, whose words do not fit in less


def save(
    picture: np.ndarray, path: str | os.PathLike[str], *, caption: str, strip: bool = True
) -> None:
    """Writes a picture, uint8 [H, W] or [H, W, 3], as a PNG with its caption as "Description".

    The caption is also written under the picture, in lines that fit its width, unless `strip` is
    false. Missing folders are created. The file appears whole or not at all, and replaces one of
    the same name. Raises `UserError` for another array, or a path that does not end in .png.
    """
    path = Path(path)
    if picture.dtype != np.uint8 or picture.ndim < 2 or picture.shape[2:] not in ((), (3,)):
        raise UserError(
            f"an array {picture.dtype} {picture.shape} was given: a picture is uint8 [H, W] or "
            "[H, W, 3]; make one with tile or another function of jaxae.plots"
        )
    if path.suffix.lower() != ".png":
        raise UserError(f"the path {path} was given for a picture; its name must end in .png")
    image = Image.fromarray(picture)
    image = _with_strip(image, caption) if strip else image
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", caption)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=text, optimize=True)


def copy_small(path: Path, copy: Path, *, most: int = 200_000) -> None:
    """Copies a PNG into a folder that is created; one of more bytes in 256 colors, with its text.

    The copy appears whole or not at all, and replaces one of the same name.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    with whole(copy) as temporary:
        if path.stat().st_size <= most:
            shutil.copyfile(path, temporary)
            return
        with Image.open(path) as picture:
            text = PngImagePlugin.PngInfo()
            for key, value in picture.info.items():
                if isinstance(key, str) and isinstance(value, str):
                    text.add_text(key, value)
            few = picture.convert("RGB").quantize(256)
            few.save(temporary, format="PNG", optimize=True, pnginfo=text)


def _with_strip(image: Image.Image, caption: str) -> Image.Image:
    """Returns the image with its caption under it, in black on white."""
    font = load_font(11)
    pad, width = 6, max(image.width, _NARROWEST)
    lines = wrap(caption, font, width - 2 * pad)
    size = (width, image.height + len(lines) * line_height(font) + 2 * pad)
    result = Image.new(image.mode, size, color="white")
    result.paste(image)
    draw = ImageDraw.Draw(result)
    for number, line in enumerate(lines):
        place = (pad, image.height + pad + number * line_height(font))
        draw.text(place, line, fill="black", font=font)
    return result


def save_gif(frames: ArrayLike, path: Path, *, seconds_per_frame: float, caption: str) -> None:
    """Writes frames [T, H, W, C] as an animated GIF that repeats forever.

    Frames are drawn as `jaxae.plots` draws images; small ones are enlarged by whole pixels,
    and the caption is the file's comment. A GIF counts time in hundredths of a second, and has at
    most 256 colors a frame. The file appears whole or not at all; missing folders are created.
    Raises `UserError` if `seconds_per_frame` is not from 0.02 to 655.
    """
    milliseconds = 10 * round(100 * seconds_per_frame) if 0 < seconds_per_frame < 655 else 0
    if milliseconds < 20:
        raise UserError(
            f"{seconds_per_frame} seconds a frame were asked for: give less than 655, and 0.02 or "
            "more, below which viewers play slowly"
        )
    column = tile(frames, columns=1)
    images = column.reshape(-1, np.shape(frames)[1], *column.shape[1:])  # [T, H, W] or by 3
    scale = max(1, _SMALLEST // max(images.shape[1:3]))
    first, *rest = map(Image.fromarray, images.repeat(scale, axis=1).repeat(scale, axis=2))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=milliseconds,
            loop=0,  # forever
            comment=caption.encode(),
        )
