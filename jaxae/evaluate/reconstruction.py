"""Figures of reconstructions, computed a few examples at a time."""

from collections.abc import Callable

import jax
import numpy as np

from jaxae import metrics
from jaxae.data import Split
from jaxae.evaluate.images import MOST_NUMBERS, Images, Range, as_floats, map_parts, parts, spread
from jaxae.evaluate.judge import LeftOut

Reconstruct = Callable[[Split], np.ndarray]
"""Returns reconstructions of a split's examples as floats, uint8 images as pixels in [0, 1]."""

_LEAST_SIDE = 11  # pixels a side of SSIM's window


def reconstruction_figures(reconstruct: Reconstruct, images: Images) -> dict[str, float]:
    """Returns the mean MSE of the test examples and what else suits them.

    Images in [0, 1] have a PSNR in dB and, unless they are too small for it, an SSIM. Vectors, and
    images in another range, have an R².
    """
    bounded = not images.are_vectors and images.range == Range()
    measures = {"mse": metrics.mse}
    if bounded:
        measures["psnr"] = metrics.psnr
        if min(images.test.images.shape[1:3]) >= _LEAST_SIDE:
            measures["ssim"] = metrics.ssim
    compiled = {name: jax.jit(measure) for name, measure in measures.items()}
    values = {name: [] for name in measures}
    for part in parts(images.test):
        outputs, targets = reconstruct(part), as_floats(part.images)
        for name, measure in compiled.items():
            values[name].append(np.asarray(measure(outputs, targets)))
    figures = {
        f"test_{name}": float(np.concatenate(each).mean(dtype=float))
        for name, each in values.items()
    }
    return figures if bounded else figures | _r_squared(reconstruct, images.test)


def _r_squared(reconstruct: Reconstruct, test: Split) -> dict[str, float]:
    """Returns R² by name; nothing if all numbers of the examples are constant."""
    few = spread(test, max(2, MOST_NUMBERS // int(np.prod(test.images.shape[1:]))))
    value = metrics.r_squared(map_parts(reconstruct, few), as_floats(few.images))
    return {} if np.isnan(value) else {"test_r_squared": value}


def left_out(images: Images) -> LeftOut:
    """Returns the figures that the images do not have, and why."""
    if images.are_vectors:
        return {"PSNR, SSIM and pictures": "the data are vectors"}
    if images.range != Range():
        low, high = images.range.low, images.range.high
        return {"PSNR and SSIM": f"the images have numbers from {low:.4g} to {high:.4g}"}
    height, width = images.test.images.shape[1:3]
    if min(height, width) < _LEAST_SIDE:
        small = f"images of {height}x{width} pixels are smaller than its window of {_LEAST_SIDE}"
        return {"SSIM": small}
    return {}
