"""PCA, the linear baseline of autoencoders."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Real

from jaxae.errors import UserError

_CHUNK = 4096  # images converted to float64 at a time


@dataclass(frozen=True, eq=False)
class PCA:
    """The linear autoencoder of least squared error: codes (x - mean) W^T, images mean + z W.

    Images [H, W, C] are flattened to D = H*W*C numbers, in the scale in which they were fitted (0
    to 255 for uint8); vectors [D] are taken as they are.
    """

    mean: np.ndarray  # float64 [D]
    components: np.ndarray  # float64 [K, D], orthonormal rows, largest variance first

    def encode(self, images: Real[np.ndarray, "N *shape"]) -> Float32[np.ndarray, "N components"]:
        """Returns the codes of images or vectors, uint8 or float.

        Raises `UserError` unless they have the D numbers that were fitted.
        """
        images = _checked_images(images)
        dimension = math.prod(images.shape[1:])
        if dimension != len(self.mean):
            raise UserError(
                f"images of shape {images.shape[1:]} have {dimension} numbers each; this PCA was "
                f"fitted to {len(self.mean)}; fit one to images of this shape"
            )
        codes = [(chunk - self.mean) @ self.components.T for chunk in _float64_chunks(images)]
        return np.concatenate(codes).astype(np.float32)

    def decode(
        self, codes: Float[np.ndarray, "N components"]
    ) -> Float32[np.ndarray, "N dimension"]:
        """Returns the flat images of codes, not clipped to the pixels' range.

        Raises `UserError` unless codes have shape [N, K].
        """
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] != len(self.components):
            raise UserError(
                f"codes of shape {codes.shape} were given; this PCA decodes "
                f"[N, {len(self.components)}]; take them from its encode"
            )
        images = np.empty((len(codes), len(self.mean)), np.float32)
        for start in range(0, len(codes), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            images[chunk] = codes[chunk].astype(np.float64) @ self.components + self.mean
        return images

    def reconstruct(self, images: Real[np.ndarray, "N *shape"]) -> Float32[np.ndarray, "N *shape"]:
        """Encodes and decodes images, in the same scale.

        Raises `UserError` unless they have the D numbers that were fitted.
        """
        return self.decode(self.encode(images)).reshape(np.shape(images))


def fit_pca(images: Real[np.ndarray, "N *shape"], components: int) -> PCA:
    """Computes the first principal components of images or vectors, uint8 or float.

    They are exact and deterministic: eigenvectors of the covariance, which is summed in float64,
    each with the sign that makes its entry of largest magnitude positive. Needs memory for D x D
    float64 numbers. Raises `UserError` for other arrays, for NaN, and unless
    1 <= components <= min(N, D).
    """
    images = _checked_images(images)
    count, dimension = len(images), math.prod(images.shape[1:])
    if not 1 <= components <= min(count, dimension):
        raise UserError(
            f"{components} principal components were asked of {count} images of {dimension} "
            f"numbers each; ask for 1 to {min(count, dimension)}"
        )
    mean = sum((chunk.sum(axis=0) for chunk in _float64_chunks(images)), np.zeros(dimension))
    mean /= count
    if not np.isfinite(mean).all():
        raise UserError("PCA was given images with NaN or infinite pixels; fix or drop them")
    scatter = np.zeros((dimension, dimension))
    for chunk in _float64_chunks(images):
        chunk -= mean
        scatter += chunk.T @ chunk
    _, vectors = np.linalg.eigh(scatter)  # ascending
    axes = vectors.T[::-1][:components]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return PCA(mean=mean, components=axes * np.sign(largest))


def _float64_chunks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yields flattened images, a float64 copy of a few thousand at a time."""
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        yield chunk.reshape(len(chunk), -1).astype(np.float64)


def _checked_images(images: np.ndarray) -> np.ndarray:
    """Returns the images; they must be uint8 or floats [N, H, W, C] or [N, D]."""
    images = np.asarray(images)
    if images.ndim not in (2, 4) or images.size == 0:
        raise UserError(
            f"an array of shape {images.shape} was given; PCA takes images [N, H, W, C] or vectors "
            "[N, D], with no axis of length 0; reshape it, with C = 1 for gray images"
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"images of type {images.dtype} were given; PCA takes uint8 or floats")
    return images
