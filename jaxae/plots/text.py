"""Text on pictures: its font, and lines that fit a width."""

import functools
import importlib.util
from pathlib import Path

from PIL import ImageFont

INK = 40  # gray level of text


@functools.cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Returns DejaVu Sans, which has Greek letters and signs that Pillow's own font lacks."""
    # The file comes with matplotlib, whose import would take a second.
    package = importlib.util.find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size)


def line_height(font: ImageFont.FreeTypeFont) -> int:
    """Returns the pixels from one line to the next."""
    ascent, descent = font.getmetrics()
    return ascent + descent


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Breaks a text between words, or after hyphens and slashes, into lines of a width in pixels.

    A part that is wider by itself is cut, and ends in an ellipsis.
    """
    lines = [""]
    for part in _parts(text):
        if lines[-1] and font.getlength((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [_cut(line.strip(), font, width) for line in lines]


def _parts(text: str) -> list[str]:
    """Returns the parts of a text after which a line may end; joined, they are the text."""
    parts = [""]
    for letter in text:
        parts[-1] += letter
        if letter in " -/":
            parts.append("")
    return [part for part in parts if part]


def _cut(line: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Returns a line, or as much of its start as fits with an ellipsis."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
