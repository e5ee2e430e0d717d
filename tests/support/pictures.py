"""Reads the images back from a labeled grid."""

import numpy as np

from jaxae.plots import Layout


def cells_of(picture: np.ndarray, layout: Layout) -> np.ndarray:
    """The images in a picture, reduced to their own size: [rows, columns, h, w] or by 3."""
    (height, width), step = layout.cell, layout.scale
    return np.array(
        [
            [picture[y : y + height : step, x : x + width : step] for x in layout.columns]
            for y in layout.rows
        ]
    )
