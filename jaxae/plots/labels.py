"""Grids of images with labels: what each row, column and group of columns shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from jaxae.errors import UserError
from jaxae.plots.grids import alike, drawable
from jaxae.plots.text import INK, line_height, load_font, wrap

_WIDTH = 760  # pixels that the images of a row are enlarged to, at most, by whole factors
_CELL = 84  # pixels a side that one image is enlarged to, at most
_MARGIN, _GAP = 6, 2  # pixels around the picture, and between its images
_BETWEEN = 22  # pixels between two groups; a rule is in their middle
_APART = 10  # pixels between rows that do not belong together
_RULE = 190  # gray level
_SIZE = 12  # of the font


@dataclass(frozen=True)
class Layout:
    """Where the parts of a labeled grid are, in pixels from the upper left corner."""

    scale: int  # of the images
    cell: tuple[int, int]  # height and width of an enlarged image
    width: int
    height: int
    columns: tuple[int, ...]  # left edges of the images in a row
    rows: tuple[int, ...]  # upper edges of the rows
    groups: tuple[tuple[int, int], ...]  # left and right edge of the space of each group


def lay_out(
    image: tuple[int, int],
    rows: int,
    sizes: Sequence[int],
    *,
    headings: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    rows_together: int | None = None,
    most: int = _WIDTH,
) -> Layout:
    """Returns the places of a grid's parts; `labeled_grid` explains the arguments.

    `image` is the height and width of an image, and `sizes` has the number of columns of each
    group.
    """
    font = load_font(_SIZE)
    height, width = image
    scale = max(1, min(most // (width * sum(sizes)), _CELL // max(height, width)))
    cell = (height * scale, width * scale)
    longest = max((font.getlength(label) for label in row_labels), default=0)
    left = _MARGIN + (round(longest) + _MARGIN if row_labels else 0)
    columns, groups = [], []
    for number, size in enumerate(sizes):
        taken = size * (cell[1] + _GAP) - _GAP
        named = round(font.getlength(headings[number])) + 1 if headings else 0
        space = max(taken, named)
        start = left + (space - taken) // 2
        columns += [start + index * (cell[1] + _GAP) for index in range(size)]
        groups.append((left, left + space))
        left += space + _BETWEEN
    lines = max((len(wrap(label, font, cell[1])) for label in column_labels), default=0)
    top = _MARGIN + line_height(font) * (bool(headings) + lines) + (4 if headings or lines else 0)
    together = rows_together or rows
    uppers = [
        top + row * (cell[0] + _GAP) + row // together * (_APART - _GAP) for row in range(rows)
    ]
    return Layout(
        scale=scale,
        cell=cell,
        width=groups[-1][1] + _MARGIN,
        height=uppers[-1] + cell[0] + _MARGIN,
        columns=tuple(columns),
        rows=tuple(uppers),
        groups=tuple(groups),
    )


def labeled_grid(
    groups: Sequence[ArrayLike],
    *,
    headings: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    rows_together: int | None = None,
    most: int = _WIDTH,
) -> np.ndarray:
    """Draws groups of images side by side on white, enlarged by a whole factor, with labels.

    Args:
      groups: images [rows, columns, H, W, C] each, of one shape but for the columns. A rule
        separates two groups.
      headings: a text above each group.
      column_labels: a text above each column of all groups.
      row_labels: a text to the left of each row.
      rows_together: the number of rows after each of which there is a gap; None for no gap.
      most: the pixels across that images are enlarged to, at most.

    Returns:
      A uint8 picture [H', W'] if the images are gray, or by 3.

    Raises:
      UserError: the groups do not fit together, or there is not one label for each.
    """
    arrays = _checked(groups)
    sizes = [array.shape[1] for array in arrays]
    rows, height, width, channels = len(arrays[0]), *arrays[0].shape[2:]
    for name, labels, count in (
        ("headings", headings, len(sizes)),
        ("column labels", column_labels, sum(sizes)),
        ("row labels", row_labels, rows),
    ):
        if labels and len(labels) != count:
            raise UserError(f"{len(labels)} {name} were given for {count}: give one for each")
    layout = lay_out(
        (height, width),
        rows,
        sizes,
        headings=headings,
        column_labels=column_labels,
        row_labels=row_labels,
        rows_together=rows_together,
        most=most,
    )
    canvas = np.full((layout.height, layout.width, channels), 255, np.uint8)
    images = np.concatenate(arrays, axis=1)
    images = images.repeat(layout.scale, axis=2).repeat(layout.scale, axis=3)
    for row, top in enumerate(layout.rows):
        for column, left in enumerate(layout.columns):
            canvas[top : top + layout.cell[0], left : left + layout.cell[1]] = images[row, column]
    for (_, end), (start, _) in zip(layout.groups, layout.groups[1:], strict=False):
        canvas[layout.rows[0] : -_MARGIN, (end + start) // 2] = _RULE
    picture = Image.fromarray(canvas[..., 0] if channels == 1 else canvas)
    _write_labels(picture, layout, headings, column_labels, row_labels)
    return np.asarray(picture)


def labeled_reconstructions(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    rows: int = 10,
    columns: int = 5,
    *,
    most: int = _WIDTH,
) -> np.ndarray:
    """Draws originals on the left, and their reconstructions in the same places on the right.

    The first rows * columns of each, [N, H, W, C], under headings -> uint8 picture.
    """
    pair = alike(originals, reconstructions)
    columns = min(columns, len(pair[0]))
    return labeled_grid(
        [in_rows(images[: rows * columns], columns) for images in pair],
        headings=("original", "reconstruction"),
        most=most,
    )


def labeled_rows(rows: Mapping[str, ArrayLike]) -> np.ndarray:
    """Draws each group of images [N, H, W, C] as a row with its name, the first on top.

    Groups must have the same shape -> uint8 picture.
    """
    return labeled_grid([np.stack(alike(*rows.values()))], row_labels=list(rows))


def in_rows(images: ArrayLike, columns: int) -> np.ndarray:
    """Arranges images [N, H, W, C] in reading order, uint8 [rows, columns, H, W, C].

    The last row is filled with white.
    """
    drawn = drawable(images)
    if columns < 1:
        raise UserError(f"{columns} columns were asked for: give 1 or more")
    pads = ((0, -len(drawn) % columns), (0, 0), (0, 0), (0, 0))
    cells = np.pad(drawn, pads, constant_values=255)
    return cells.reshape(-1, columns, *cells.shape[1:])


def _checked(groups: Sequence[ArrayLike]) -> list[np.ndarray]:
    """Returns groups as uint8 [rows, columns, H, W, 1 or 3]."""
    arrays = [np.asarray(group) for group in groups]
    shapes = [array.shape for array in arrays]
    agree = len({(*shape[:1], *shape[2:]) for shape in shapes}) == 1
    if not agree or any(len(shape) != 5 for shape in shapes):
        raise UserError(
            f"groups of images of shapes {shapes} were given: give one group or more, each [rows, "
            "columns, H, W, C], which differ only in their columns"
        )
    drawn = (drawable(array.reshape(-1, *array.shape[2:])) for array in arrays)
    return [
        images.reshape(*shape[:2], *images.shape[1:])
        for images, shape in zip(drawn, shapes, strict=True)
    ]


def _write_labels(
    picture: Image.Image,
    layout: Layout,
    headings: Sequence[str],
    column_labels: Sequence[str],
    row_labels: Sequence[str],
) -> None:
    """Writes headings and column labels centered above, and row labels to the left."""
    font, draw = load_font(_SIZE), ImageDraw.Draw(picture)
    ink = INK if picture.mode == "L" else (INK, INK, INK)
    high, wide = layout.cell
    for text, (start, end) in zip(headings, layout.groups, strict=False):
        draw.text(((start + end) / 2, _MARGIN), text, fill=ink, font=font, anchor="ma")
    for text, left in zip(column_labels, layout.columns, strict=False):
        lines = wrap(text, font, wide)
        for number, line in enumerate(reversed(lines)):
            bottom = layout.rows[0] - 4 - number * line_height(font)
            draw.text((left + wide / 2, bottom), line, fill=ink, font=font, anchor="md")
    for text, top in zip(row_labels, layout.rows, strict=False):
        right = layout.columns[0] - _MARGIN
        draw.text((right, top + high / 2), text, fill=ink, font=font, anchor="rm")
