"""Corruption of a network's inputs, and binarization of its inputs and targets.

Corruptions take a key and images, uint8 or floats in [0, 1], and return floats in [0, 1].
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
    key: Key[Array, ""], images: Real[Array, "batch height width channels"], noise: float
) -> Float[Array, "batch height width channels"]:
    """clip(x + noise * N(0, 1), 0, 1), independently for each channel."""
    clean = pixels(images)
    return jnp.clip(clean + noise * jax.random.normal(key, clean.shape), 0, 1)


def mask_pixels(
    key: Key[Array, ""], images: Real[Array, "batch height width channels"], rate: float
) -> Float[Array, "batch height width channels"]:
    """Makes each pixel black with probability `rate` (Vincent et al. 2010, section 3.3)."""
    clean = pixels(images)
    return jnp.where(jax.random.bernoulli(key, rate, (*clean.shape[:3], 1)), 0, clean)


def add_salt_and_pepper(
    key: Key[Array, ""], images: Real[Array, "batch height width channels"], rate: float
) -> Float[Array, "batch height width channels"]:
    """Makes each pixel black or white, each with probability rate / 2.

    Vincent et al. 2010, section 3.3.
    """
    clean = pixels(images)
    draw = jax.random.uniform(key, (*clean.shape[:3], 1))
    return jnp.where(draw < rate / 2, 0, jnp.where(draw < rate, 1, clean))


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
