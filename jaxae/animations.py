"""Images that follow each other, as animated GIFs."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from jaxae import plots
from jaxae.errors import UserError
from jaxae.files import whole

_SMALLEST = 140  # pixels across, to which smaller images are enlarged if whole pixels allow


def save_gif(frames: ArrayLike, path: Path, *, seconds_per_frame: float, caption: str) -> None:
    """Writes frames [T, H, W, C] as an animated GIF that starts anew at its end.

    Frames are drawn as `jaxae.plots` draws images; small ones are enlarged by whole pixels,
    and the caption is the file's comment. A GIF counts time in hundredths of a second, colours up
    to 256 a frame. The file is written whole or not at all; missing folders are made.
    """
    milliseconds = 10 * round(100 * seconds_per_frame) if 0 < seconds_per_frame < 655 else 0
    if milliseconds < 20:
        raise UserError(
            f"{seconds_per_frame} seconds a frame were asked of a GIF: give 0.02, below which "
            "viewers play slowly, or more, and less than 655"
        )
    column = plots.tile(frames, columns=1)
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
            loop=0,  # without end
            comment=caption.encode(),
        )
