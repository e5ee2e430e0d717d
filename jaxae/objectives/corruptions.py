"""What is done to images before a network reads them, or before they are its targets.

Corruptions take a key and images [B, H, W, C], and return floats in [0, 1] of the same shape.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.train import Batch, Objective, Terms, Variables, pixels


def denoising(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    objective: Objective,
    corrupt: Callable[[Array, Array], Array],
) -> Terms:
    """The objective on freshly corrupted inputs, with clean targets (Vincent et al. 2008)."""
    noise_key, objective_key = jax.random.split(key)
    corrupted = replace(batch, inputs=corrupt(noise_key, batch.images))
    return objective(variables, objective_key, corrupted)


def add_gaussian_noise(key: Array, images: Array, noise: float) -> Array:
    """clip(x + noise * N(0, 1), 0, 1), each channel for itself."""
    clean = pixels(images)
    return jnp.clip(clean + noise * jax.random.normal(key, clean.shape), 0, 1)


def mask_pixels(key: Array, images: Array, rate: float) -> Array:
    """Makes each pixel black with a probability `rate` (Vincent et al. 2010, section 3.3)."""
    clean = pixels(images)
    return jnp.where(jax.random.bernoulli(key, rate, (*clean.shape[:3], 1)), 0, clean)


def add_salt_and_pepper(key: Array, images: Array, rate: float) -> Array:
    """Makes each pixel black or white, each with a probability of rate / 2.

    Vincent et al. 2010, section 3.3.
    """
    clean = pixels(images)
    draw = jax.random.uniform(key, (*clean.shape[:3], 1))
    return jnp.where(draw < rate / 2, 0, jnp.where(draw < rate, 1, clean))


def dynamically_binarized(
    variables: Variables, key: Array, batch: Batch, *, objective: Objective
) -> Terms:
    """The objective on pixels drawn anew from Bernoulli(pixel) each time (Burda et al. 2016)."""
    binarization_key, objective_key = jax.random.split(key)
    binary = replace(batch, images=binarize(binarization_key, batch.images))
    return objective(variables, objective_key, binary)


def binarize(key: Array, images: Array) -> Array:
    """Pixels of 0 or 255, uint8, each drawn from Bernoulli(pixel)."""
    return jax.random.bernoulli(key, pixels(images)).astype(jnp.uint8) * 255
