"""Numbers about images: errors per image, structural similarity, and the PCA baseline.

`mse`, `psnr` and `ssim` are pure, can be jitted, and return one number per image, unreduced. They
take floats in [0, 1], shape [B, H, W, C]; float16 and bfloat16 are widened to float32 first.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.errors import UserError

_SMALLEST_MSE = 1e-10  # 100 dB; rounding to 8 bits alone costs an MSE of 1.3e-6, 59 dB
_WINDOW_SIZE, _WINDOW_SIGMA = 11, 1.5  # Wang et al. 2004, section III.B
_LUMINANCE_CONSTANT, _CONTRAST_CONSTANT = 0.01**2, 0.03**2  # C1 and C2 at data range 1
_CHUNK = 4096  # images converted to float64 at a time


def mse(images: jax.typing.ArrayLike, targets: jax.typing.ArrayLike) -> jax.Array:
    """Mean squared error over the pixels and channels of each image: [B, H, W, C] twice -> [B].

    Raises UserError unless both are float arrays of one shape [B, H, W, C].
    """
    images, targets = _checked_pair(images, targets)
    return jnp.mean(jnp.square(images - targets), axis=(1, 2, 3))


def psnr(images: jax.typing.ArrayLike, targets: jax.typing.ArrayLike) -> jax.Array:
    """Peak signal-to-noise ratio of each image, in dB at data range 1: [B, H, W, C] twice -> [B].

    -10 log10(MSE), with the MSE held at or above 1e-10: equal images have 100 dB, not infinity.
    Raises UserError unless both are float arrays of one shape [B, H, W, C].
    """
    return -10 * jnp.log10(jnp.maximum(mse(images, targets), _SMALLEST_MSE))


def ssim(images: jax.typing.ArrayLike, targets: jax.typing.ArrayLike) -> jax.Array:
    """Structural similarity of each image, at most 1: [B, H, W, C] twice -> [B].

    Wang, Bovik, Sheikh and Simoncelli 2004, equation 13: Gaussian window of 11x11 pixels and sigma
    1.5, K1 = 0.01, K2 = 0.03, data range 1; the mean over all windows that lie inside the image and
    over the channels. Raises UserError unless both are float arrays of one shape [B, H, W, C] with
    H, W >= 11.
    """
    images, targets = _checked_pair(images, targets)
    if min(images.shape[1:3]) < _WINDOW_SIZE:
        raise UserError(
            f"SSIM was given images of {images.shape[1]}x{images.shape[2]} pixels; its window "
            f"needs {_WINDOW_SIZE}x{_WINDOW_SIZE} or more. Use mse or psnr, or larger images."
        )
    # A variance is the same without the channel's own mean, and E[x^2] - E[x]^2 then loses fewer
    # digits; for constant images none.
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
    """Gaussian-weighted mean over every window inside the image: [B,H,W,C] -> [B,H-10,W-10,C]."""
    across, down = (_window_matrix(size) for size in (images.shape[2], images.shape[1]))
    # Two matrix products are faster than a convolution on a CPU; by default a GPU or TPU would
    # round their inputs.
    return jnp.einsum("ih,bhwc,jw->bijc", down, images, across, precision=jax.lax.Precision.HIGHEST)


def _window_matrix(size: int) -> np.ndarray:
    """Row i holds the window's weights from column i on: float32 [size - 10, size]."""
    radius = _WINDOW_SIZE // 2
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _WINDOW_SIGMA) ** 2)
    places = size - 2 * radius
    bands = [w * np.eye(places, size, i) for i, w in enumerate(window / window.sum())]
    return np.sum(bands, axis=0).astype(np.float32)


def _checked_pair(
    images: jax.typing.ArrayLike, targets: jax.typing.ArrayLike
) -> tuple[jax.Array, jax.Array]:
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    if images.ndim != 4 or images.shape != targets.shape:
        raise UserError(
            f"Images of shape {images.shape} were compared with targets of shape {targets.shape}; "
            "both must have one shape [B, H, W, C]. Reshape or slice them to match."
        )
    for array in (images, targets):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(
                f"Images of type {array.dtype} were given; metrics take floats in [0, 1]. "
                "Convert uint8 pixels by images / 255."
            )
    dtype = jnp.promote_types(jnp.promote_types(images.dtype, targets.dtype), jnp.float32)
    return images.astype(dtype), targets.astype(dtype)


@dataclass(frozen=True, eq=False)
class PCA:
    """The linear autoencoder of least squared error: codes (x - mean) W^T, images mean + z W.

    Works on images in the scale that it was fitted in (0..255 for uint8), flattened to D = H*W*C.
    """

    mean: np.ndarray  # float64 [D]
    components: np.ndarray  # float64 [K, D], orthonormal rows, largest variance first

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Codes of images: uint8 or float [N, H, W, C] -> float32 [N, K].

        Raises UserError unless H*W*C is the D that was fitted.
        """
        images = _checked_images(images)
        dimension = math.prod(images.shape[1:])
        if dimension != len(self.mean):
            raise UserError(
                f"Images of shape {images.shape[1:]} have {dimension} numbers each; this PCA was "
                f"fitted to {len(self.mean)}. Fit one to images of this shape."
            )
        codes = [(chunk - self.mean) @ self.components.T for chunk in _float64_chunks(images)]
        return np.concatenate(codes).astype(np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Flat images of codes: float [N, K] -> float32 [N, D], not clipped to the pixels' range.

        Raises UserError unless codes have shape [N, K].
        """
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] != len(self.components):
            raise UserError(
                f"Codes of shape {codes.shape} were given; this PCA decodes "
                f"[N, {len(self.components)}]. Take them from its encode."
            )
        images = np.empty((len(codes), len(self.mean)), np.float32)
        for start in range(0, len(codes), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            images[chunk] = codes[chunk].astype(np.float64) @ self.components + self.mean
        return images

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Images through the code and back, in the same scale: [N, H, W, C] -> float32, same shape.

        Raises UserError unless H*W*C is the D that was fitted.
        """
        return self.decode(self.encode(images)).reshape(np.shape(images))


def fit_pca(images: np.ndarray, components: int) -> PCA:
    """The first principal components of images, uint8 or float [N, H, W, C], N >= 1.

    Exact, and the same for the same images: eigenvectors of the covariance, summed in float64, each
    with the sign that makes its entry of largest magnitude positive. Holds D x D float64 numbers.
    Raises UserError for other arrays, for NaN, and unless 1 <= components <= min(N, D).
    """
    images = _checked_images(images)
    count, dimension = len(images), math.prod(images.shape[1:])
    if not 1 <= components <= min(count, dimension):
        raise UserError(
            f"{components} principal components were asked of {count} images of {dimension} "
            f"numbers each; ask for 1 to {min(count, dimension)}."
        )
    mean = sum((chunk.sum(axis=0) for chunk in _float64_chunks(images)), np.zeros(dimension))
    mean /= count
    if not np.isfinite(mean).all():
        raise UserError("PCA was given images with NaN or infinite pixels. Mend or drop them.")
    scatter = np.zeros((dimension, dimension))
    for chunk in _float64_chunks(images):
        chunk -= mean
        scatter += chunk.T @ chunk
    _, vectors = np.linalg.eigh(scatter)  # ascending
    axes = vectors.T[::-1][:components]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return PCA(mean=mean, components=axes * np.sign(largest))


def _float64_chunks(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images flattened, a fresh float64 copy of a few thousand at a time."""
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        yield chunk.reshape(len(chunk), -1).astype(np.float64)


def _checked_images(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.size == 0:
        raise UserError(
            f"An array of shape {images.shape} was given; PCA takes images [N, H, W, C], none of "
            "the four zero. Reshape it, with C = 1 for grey images."
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"Images of type {images.dtype} were given; PCA takes uint8 or floats.")
    return images
