"""Grids of images: tiled, or beside their reconstructions."""

import numpy as np
from numpy.typing import ArrayLike

from jaxae.errors import UserError

DIVERGED = "if a model made them, its training diverged; try a smaller learning rate"


def tile(images: ArrayLike, columns: int) -> np.ndarray:
    """Tiles images in reading order, `columns` a row, without gaps; empty cells are black.

    [N, H, W, C] -> uint8 picture [ceil(N / columns) H, columns W] or the same by 3.
    """
    images = drawable(images)
    if columns < 1:
        raise UserError(f"{columns} columns were asked for: give 1 or more")
    _, height, width, channels = images.shape
    cells = np.pad(images, ((0, -len(images) % columns), (0, 0), (0, 0), (0, 0)))
    rows = cells.reshape(-1, columns, height, width, channels).swapaxes(1, 2)
    picture = rows.reshape(-1, columns * width, channels)
    return picture[..., 0] if channels == 1 else picture


def reconstruction_grid(
    originals: ArrayLike, reconstructions: ArrayLike, rows: int = 10, columns: int = 5
) -> np.ndarray:
    """Draws originals in the left half, and their reconstructions in the same places on the right.

    The first rows * columns of each, [N, H, W, C], in reading order within the half -> uint8
    picture [rows H, 2 columns W] or the same by 3; fewer images give fewer rows or columns.
    """
    pair = alike(originals, reconstructions)
    if rows < 1 or columns < 1:
        raise UserError(
            f"a grid of {rows} rows and {columns} columns was asked for: give 1 or more of both"
        )
    columns = min(columns, len(pair[0]))
    return np.concatenate([tile(images[: rows * columns], columns) for images in pair], axis=1)


def drawable(images: ArrayLike) -> np.ndarray:
    """Returns images [N, H, W, C] as uint8 [N, H, W, 1 or 3], or [N, H, C W, 1] for other C."""
    images = np.asarray(images)
    known = images.dtype == np.uint8 or np.issubdtype(images.dtype, np.floating)
    if not known or images.ndim != 4 or not images.size:
        raise UserError(
            f"an array {images.dtype} {images.shape} was given: images are [N, H, W, C], not "
            "empty, and uint8 or float in [0, 1]; convert or reshape it"
        )
    count, height, _, channels = images.shape
    if channels not in (1, 3):
        images = np.moveaxis(images, 3, 2).reshape(count, height, -1, 1)
    if images.dtype == np.uint8:
        return images
    if np.isnan(images).any():
        raise UserError(f"images with NaN pixels were given: {DIVERGED}")
    return np.rint(255 * images.clip(0, 1)).astype(np.uint8)


def alike(*groups: ArrayLike) -> list[np.ndarray]:
    """Returns groups of images as uint8; raises `UserError` unless all have one shape."""
    arrays = [drawable(group) for group in groups]
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) != 1:
        raise UserError(
            f"groups of images of shapes {shapes} were given: a picture takes one group or more, "
            "all of one shape; slice them to the same number"
        )
    return arrays
