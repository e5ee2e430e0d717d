"""Corruption of a network's inputs, and binarization of its inputs and targets.

Corruptions take a key and images, uint8 or floats in [0, 1], and return floats in [0, 1]. They also
take vectors [B, D], in which each number counts as a pixel.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, Real, UInt8

from jaxae.train import Batch, Objective, Terms, Variables, pixels


def denoising(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    objective: Objective,
    corrupt: Callable[[Array, Array], Array],
) -> Terms:
    """Applies an objective to freshly corrupted inputs and clean targets (Vincent et al. 2008)."""
    noise_key, objective_key = jax.random.split(key)
    corrupted = replace(batch, inputs=corrupt(noise_key, batch.images))
    return objective(variables, objective_key, corrupted)


def add_gaussian_noise(
    key: Key[Array, ""],
    images: Real[Array, "batch *shape"],
    noise: Float[Array, ""] | float,
    *,
    bounded: bool = True,
) -> Float[Array, "batch *shape"]:
    """clip(x + noise * N(0, 1), 0, 1), independently for each channel.

    If not `bounded`, numbers may have any range and are not clipped.
    """
    clean = pixels(images)
    noisy = clean + noise * jax.random.normal(key, clean.shape)
    return jnp.clip(noisy, 0, 1) if bounded else noisy


def mask_pixels(
    key: Key[Array, ""], images: Real[Array, "batch *shape"], rate: Float[Array, ""] | float
) -> Float[Array, "batch *shape"]:
    """Sets each pixel to 0 with probability `rate` (Vincent et al. 2010, section 3.3).

    In standardized vectors, 0 is the mean of a number over all examples.
    """
    clean = pixels(images)
    return jnp.where(jax.random.bernoulli(key, rate, _pixel_shape(clean)), 0, clean)


def add_salt_and_pepper(
    key: Key[Array, ""], images: Real[Array, "batch *shape"], rate: Float[Array, ""] | float
) -> Float[Array, "batch *shape"]:
    """Makes each pixel black or white, each with probability rate / 2.

    Vincent et al. 2010, section 3.3.
    """
    clean = pixels(images)
    draw = jax.random.uniform(key, _pixel_shape(clean))
    return jnp.where(draw < rate / 2, 0, jnp.where(draw < rate, 1, clean))


def _pixel_shape(images: Float[Array, "batch *shape"]) -> tuple[int, ...]:
    """Returns the shape of one value for each pixel of images, or for each number of vectors."""
    return images.shape if images.ndim == 2 else (*images.shape[:-1], 1)


def dynamically_binarized(
    variables: Variables, key: Key[Array, ""], batch: Batch, *, objective: Objective
) -> Terms:
    """Applies an objective to images that are binarized anew each time (Burda et al. 2016)."""
    binarization_key, objective_key = jax.random.split(key)
    binary = replace(batch, images=binarize(binarization_key, batch.images))
    return objective(variables, objective_key, binary)


def binarize(key: Key[Array, ""], images: Real[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """Draws each pixel, 0 or 255, from Bernoulli(pixel)."""
    return jax.random.bernoulli(key, pixels(images)).astype(jnp.uint8) * 255
