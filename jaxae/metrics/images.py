"""Errors of images or vectors against their targets.

`mse`, `psnr` and `ssim` give one number per example. They are pure functions that can be jitted;
float16 and bfloat16 are widened to float32 first.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from jaxae.errors import UserError

_SMALLEST_MSE = 1e-10  # 100 dB; rounding to 8 bits alone costs an MSE of 1.3e-6, 59 dB
_WINDOW_SIZE, _WINDOW_SIGMA = 11, 1.5  # Wang et al. 2004, section III.B
_LUMINANCE_CONSTANT, _CONTRAST_CONSTANT = 0.01**2, 0.03**2  # C1 and C2 at data range 1


def mse(
    images: Float[ArrayLike, "batch *shape"], targets: Float[ArrayLike, "batch *shape"]
) -> Float[jax.Array, " batch"]:
    """The mean squared error over the numbers of each image [H, W, C] or vector [D], in any range.

    Raises `UserError` unless both are float arrays of one shape [B, H, W, C] or [B, D].
    """
    images, targets = _checked_pair(images, targets, ranks=(2, 4))
    return jnp.mean(jnp.square(images - targets), axis=tuple(range(1, images.ndim)))


def r_squared(
    images: Float[np.ndarray, "N *shape"], targets: Float[np.ndarray, "N *shape"]
) -> float:
    """The coefficient of determination R², the mean over dimensions; at most 1.

    Of each dimension it is 1 - (sum of squared errors) / (sum of squared deviations from the mean
    of the targets): 0 for a constant guess of the mean, negative for worse ones. Dimensions whose
    targets are constant have no R² and are left out; if all are, the result is NaN. Sums are in
    float64. Raises `UserError` unless both are float arrays of one shape [N, H, W, C] or [N, D].
    """
    _checked_pair(images[:1], targets[:1], ranks=(2, 4))
    if images.shape != targets.shape:
        raise _unlike(images, targets, ranks=(2, 4))
    varies = np.ptp(targets, axis=0) > 0
    if not varies.any():
        return float("nan")
    residual = np.square(images - targets, dtype=np.float64).sum(axis=0)[varies]
    total = np.square(targets - targets.mean(axis=0, dtype=np.float64)).sum(axis=0)[varies]
    return float(np.mean(1 - residual / total))


def psnr(
    images: Float[ArrayLike, "batch height width channels"],
    targets: Float[ArrayLike, "batch height width channels"],
) -> Float[jax.Array, " batch"]:
    """The peak signal-to-noise ratio of each image in dB, for a data range of 1.

    -10 log10(MSE), with the MSE held at or above 1e-10, so that equal images have 100 dB instead of
    infinity. Images are floats in [0, 1]. Raises `UserError` unless both are float arrays of one
    shape [B, H, W, C].
    """
    images, targets = _checked_pair(images, targets)
    return -10 * jnp.log10(jnp.maximum(mse(images, targets), _SMALLEST_MSE))


def ssim(
    images: Float[ArrayLike, "batch height width channels"],
    targets: Float[ArrayLike, "batch height width channels"],
) -> Float[jax.Array, " batch"]:
    """The structural similarity of each image, at most 1.

    Wang, Bovik, Sheikh and Simoncelli 2004, equation 13, with a Gaussian window of 11x11 pixels and
    sigma 1.5, K1 = 0.01, K2 = 0.03 and data range 1, averaged over channels and all windows inside
    the image. Images are floats in [0, 1]. Raises `UserError` unless both are float arrays of one
    shape [B, H, W, C] with H, W >= 11.
    """
    images, targets = _checked_pair(images, targets)
    if min(images.shape[1:3]) < _WINDOW_SIZE:
        raise UserError(
            f"SSIM was given images of {images.shape[1]}x{images.shape[2]} pixels; its window "
            f"needs {_WINDOW_SIZE}x{_WINDOW_SIZE} or more; use mse or psnr, or larger images"
        )
    # Subtracting a channel's mean leaves its variance unchanged, and E[x^2] - E[x]^2 then loses
    # fewer digits, for constant images none.
    image_offset = jnp.mean(images, axis=(1, 2), keepdims=True)
    target_offset = jnp.mean(targets, axis=(1, 2), keepdims=True)
    x, y = images - image_offset, targets - target_offset
    x_mean, y_mean, xx, yy, xy = (_window_mean(q) for q in (x, y, x * x, y * y, x * y))
    x_variance, y_variance = xx - x_mean * x_mean, yy - y_mean * y_mean
    covariance = xy - x_mean * y_mean
    x_mean, y_mean = x_mean + image_offset, y_mean + target_offset
    luminance = (2 * x_mean * y_mean + _LUMINANCE_CONSTANT) / (
        x_mean * x_mean + y_mean * y_mean + _LUMINANCE_CONSTANT
    )
    contrast_and_structure = (2 * covariance + _CONTRAST_CONSTANT) / (
        x_variance + y_variance + _CONTRAST_CONSTANT
    )
    return jnp.mean(luminance * contrast_and_structure, axis=(1, 2, 3))


def _window_mean(images: jax.Array) -> jax.Array:
    """The Gaussian-weighted mean of each window inside the image, [B, H - 10, W - 10, C]."""
    across, down = (_window_matrix(size) for size in (images.shape[2], images.shape[1]))
    # Two matrix products are faster than a convolution on a CPU. HIGHEST, because by default a GPU
    # or TPU rounds their inputs.
    return jnp.einsum("ih,bhwc,jw->bijc", down, images, across, precision=jax.lax.Precision.HIGHEST)


def _window_matrix(size: int) -> np.ndarray:
    """A band matrix, float32 [size - 10, size]: row i has the window's weights from column i on."""
    radius = _WINDOW_SIZE // 2
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _WINDOW_SIGMA) ** 2)
    places = size - 2 * radius
    bands = [w * np.eye(places, size, i) for i, w in enumerate(window / window.sum())]
    return np.sum(bands, axis=0).astype(np.float32)


def _checked_pair(
    images: ArrayLike, targets: ArrayLike, ranks: tuple[int, ...] = (4,)
) -> tuple[jax.Array, jax.Array]:
    """Returns both as float32, or as float64 if one is; they must be floats of one shape."""
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    if images.ndim not in ranks or images.shape != targets.shape:
        raise _unlike(images, targets, ranks)
    for array in (images, targets):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(
                f"images of type {array.dtype} were given; metrics take floats in [0, 1]; "
                "convert uint8 pixels with images / 255"
            )
    dtype = jnp.float64 if jnp.float64 in (images.dtype, targets.dtype) else jnp.float32
    return images.astype(dtype), targets.astype(dtype)


def _unlike(images: Any, targets: Any, ranks: tuple[int, ...]) -> UserError:
    """Returns the error for arrays of different shapes, or of a rank that is not allowed."""
    allowed = " or ".join({2: "[B, D]", 4: "[B, H, W, C]"}[rank] for rank in reversed(ranks))
    return UserError(
        f"images of shape {images.shape} were compared with targets of shape {targets.shape}; "
        f"both must have one shape {allowed}; reshape or slice them to match"
    )
