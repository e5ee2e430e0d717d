"""Convolutions and pooling that train fast on a CPU; useful without the rest of jaxae.

`drop_ins` replaces Flax's layers; the functions here are their building blocks.
"""

from jaxae.convolutions import drop_ins
from jaxae.convolutions.products import (
    correlate,
    correlate_and_pool,
    correlate_transposed,
    max_pool,
    upsample_and_correlate,
)
from jaxae.convolutions.tiles import keep, map_tiles, tile_size
from jaxae.convolutions.windows import (
    Window,
    Windows,
    transposed_padding,
    transposed_window,
    window,
)

__all__ = [
    "Window",
    "Windows",
    "correlate",
    "correlate_and_pool",
    "correlate_transposed",
    "drop_ins",
    "keep",
    "map_tiles",
    "max_pool",
    "tile_size",
    "transposed_padding",
    "transposed_window",
    "upsample_and_correlate",
    "window",
]
