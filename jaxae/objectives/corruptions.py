"""What is done to images before a network reads them, or before they are its targets."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.batches import Batch, pixels
from jaxae.steps import Objective, Terms, Variables


def denoising(
    variables: Variables, key: Array, batch: Batch, *, objective: Objective, noise: float
) -> Terms:
    """The objective on freshly corrupted inputs, with clean targets (Vincent et al. 2008)."""
    noise_key, objective_key = jax.random.split(key)
    noisy = replace(batch, inputs=add_gaussian_noise(noise_key, batch.images, noise))
    return objective(variables, objective_key, noisy)


def add_gaussian_noise(key: Array, images: Array, noise: float) -> Array:
    """clip(x + noise * N(0, 1), 0, 1) of images [B, H, W, C], float32."""
    clean = pixels(images)
    return jnp.clip(clean + noise * jax.random.normal(key, clean.shape), 0, 1)


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
