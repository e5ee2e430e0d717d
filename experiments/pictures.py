"""Makes a folder of color pictures to train on: the emoji of a font, in folders by their groups.

    python experiments/pictures.py emoji --size 32
    jaxae train --objective vae --network resnet --dataset emoji --latent 64

Needs Debian's packages fonts-noto-color-emoji (the font Noto Color Emoji, under the SIL Open Font
License 1.1) and unicode-data (the list of emoji and their groups, under Unicode's license), or the
same files from elsewhere. The version in Debian 12 gives 1,870 pictures in nine groups, in about
three seconds. Variants of skin color are left out: a held-out picture would have twins among
the training pictures.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxae.cli import run_tool
from jaxae.errors import UserError

_STRIKE = 109  # the only size of the font's bitmaps
_CANVAS = (136, 128)  # width and height of a bitmap
_SKIN_TONES = range(0x1F3FB, 0x1F400)


@dataclass(frozen=True)
class Options:
    """Draws the emoji of a font as pictures, in a new folder."""

    out: Annotated[Path, tyro.conf.Positional]  # new folder to write

    size: int = 64  # side of a picture in pixels
    font: Path = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # font to draw with
    # list of emoji and their groups, as Unicode publishes it
    emoji: Path = Path("/usr/share/unicode/emoji/emoji-test.txt")


def main(options: Options) -> None:
    """Draws every emoji that the font has into the folder of its group."""
    if not 1 <= options.size <= max(_CANVAS):
        raise UserError(f"--size {options.size}: give 1 to {max(_CANVAS)}")
    if options.out.exists():
        raise UserError(f"{options.out} exists already: give a new folder")
    for path, package in (
        (options.font, "fonts-noto-color-emoji"),
        (options.emoji, "unicode-data"),
    ):
        if not path.is_file():
            raise UserError(
                f"{path} is missing: install Debian's package {package}, or give the file's path"
            )
    font = _load_font(options.font)
    staging = options.out.with_name(f".{options.out.name}.incomplete")
    shutil.rmtree(staging, ignore_errors=True)
    count = 0
    try:
        for group, text in read_emoji(options.emoji):
            picture = _draw(text, font, options.size)
            if picture is None:
                continue
            folder = staging / group
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{'_'.join(f'{ord(letter):x}' for letter in text)}.png")
            count += 1
        if not count:
            raise UserError(f"{options.font} has no emoji: give a font with color bitmaps")
        groups = sum(1 for _ in staging.iterdir())
        staging.replace(options.out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    print(f"done: {count:,} pictures in {groups} groups in {options.out}")


def read_emoji(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the group and the text of each emoji in Unicode's list, without skin colors."""
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"# group: (.*)", line):
            group = re.sub(r"\W+", "_", found[1].lower())
        elif found := re.match(r"([0-9A-F ]+); fully-qualified", line):
            points = [int(point, 16) for point in found[1].split()]
            if not set(points) & set(_SKIN_TONES):
                yield group, "".join(map(chr, points))


def _load_font(path: Path) -> Any:
    """Loads a font of color bitmaps; raises `UserError` if it or Pillow does not suit."""
    from PIL import ImageFont, features

    if not features.check("raqm"):
        raise UserError("this Pillow cannot join emoji (it lacks Raqm): install Pillow's own wheel")
    try:
        return ImageFont.truetype(str(path), _STRIKE, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise UserError(
            f"{path} has no bitmaps of {_STRIKE} pixels ({error}): give another"
        ) from None


def _draw(text: str, font: Any, size: int) -> Any:
    """Draws an emoji on a transparent square; None if the font has no single bitmap for it."""
    from PIL import Image, ImageDraw

    if round(font.getlength(text)) != _CANVAS[0]:  # two glyphs in place of a joined one, or none
        return None
    canvas = Image.new("RGBA", _CANVAS)
    ImageDraw.Draw(canvas).text((0, 0), text, font=font, embedded_color=True, anchor="lt")
    if canvas.getbbox() is None:
        return None
    square = Image.new("RGBA", (max(_CANVAS), max(_CANVAS)))
    square.paste(canvas, (0, (max(_CANVAS) - _CANVAS[1]) // 2))
    return square.resize((size, size), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
