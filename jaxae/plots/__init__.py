"""Arrays in, pictures out: grids of images, decoded planes, scatters of codes, curves, vectors.

Images are uint8, or float in [0, 1] (a float x is drawn as round(255 clip(x, 0, 1))), of shape
[N, H, W, C]. NaN is an error, because drawing it in black would hide a diverged run. C = 1 is gray,
3 is color; any other number of channels is drawn as that many gray images side by side. A picture,
which functions return and `save` writes, is uint8: [H, W] if gray, [H, W, 3] in color. Arrays of
another kind, and shapes that do not fit together, raise UserError. `error_bars` draws for a paper.
"""

from jaxae.plots.charts import curves, latent_digits_3d, latent_scatter, plane, vectors
from jaxae.plots.grids import drawable, reconstruction_grid, tile
from jaxae.plots.labels import (
    Layout,
    in_rows,
    labeled_grid,
    labeled_reconstructions,
    labeled_rows,
    lay_out,
)
from jaxae.plots.papers import LINE_COLORS, Drawing, Points, error_bars, save_drawing
from jaxae.plots.saving import copy_small, save, save_gif

__all__ = [
    "LINE_COLORS",
    "Drawing",
    "Layout",
    "Points",
    "copy_small",
    "curves",
    "drawable",
    "error_bars",
    "in_rows",
    "labeled_grid",
    "labeled_reconstructions",
    "labeled_rows",
    "latent_digits_3d",
    "latent_scatter",
    "lay_out",
    "plane",
    "reconstruction_grid",
    "save",
    "save_drawing",
    "save_gif",
    "tile",
    "vectors",
]
