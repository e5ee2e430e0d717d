"""Objectives: from (variables, key, batch) to terms; `functools.partial` gives them their model.

A variant changes the batch or a weight and calls another: denoising is reconstruction from
corrupted inputs, a beta-VAE is the ELBO with another weight.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxae import losses, metrics
from jaxae.batches import Batch, pixels
from jaxae.likelihoods import Likelihood
from jaxae.models import Gaussian, VariationalAutoencoder
from jaxae.train import Objective, Terms, Variables


def call(model: nn.Module, variables: Variables, x: Array, method: str = "__call__") -> Any:
    """A method of a Linen module on an array; what it returns is float32 if it was of less bits."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)),
        model.apply(variables, x, method=method),
    )


def inputs_of(batch: Batch) -> Array:
    """What the network reads, before scaling: the inputs if the batch has any, else the images."""
    return batch.images if batch.inputs is None else batch.inputs


def network_input(batch: Batch, likelihood: Likelihood) -> Array:
    """What the network reads, in the likelihood's range."""
    return likelihood.scale(pixels(inputs_of(batch)))


def reconstruction(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
    per_pixel: bool = False,
) -> Terms:
    """The loss of each image's reconstruction; per_pixel divides it by the number of pixels."""
    del key
    targets = likelihood.scale(pixels(batch.images))
    logits = call(model, variables, network_input(batch, likelihood))
    loss = likelihood.loss(logits, targets)
    return Terms(loss / targets[0].size if per_pixel else loss)


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


def negative_elbo(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: VariationalAutoencoder,
    likelihood: Likelihood,
    beta: float = 1.0,
) -> Terms:
    """-E_q log p(x | z) + beta KL(q(z | x) || N(0, 1)), in nats, with one sample of z.

    Kingma and Welling 2014, eq. 10; beta as in Higgins et al. 2017. The metrics are the negative
    ELBO itself (beta 1) and its two terms, which add up to it.
    """
    images = likelihood.scale(pixels(batch.images))
    posterior: Gaussian = call(
        model, variables, network_input(batch, likelihood), method="posterior"
    )
    noise = jax.random.normal(key, posterior.mean.shape)
    z = posterior.mean + jnp.exp(posterior.log_variance / 2) * noise
    distortion = likelihood.loss(call(model, variables, z, method="decode"), images)
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    return Terms(
        distortion + beta * kl,
        {"negative_elbo": distortion + kl, "reconstruction": distortion, "kl": kl},
    )


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


def with_image_errors(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    objective: Objective,
    model: nn.Module,
    likelihood: Likelihood,
) -> Terms:
    """The objective, and "mse" and "psnr" of each reconstruction on [0, 1], for evaluation."""
    terms = objective(variables, key, batch)
    images = reconstruct(variables, inputs_of(batch), model=model, likelihood=likelihood)
    targets = pixels(batch.images)
    errors = {"mse": metrics.mse(images, targets), "psnr": metrics.psnr(images, targets)}
    return replace(terms, metrics={**terms.metrics, **errors})


@partial(jax.jit, static_argnames=("model", "likelihood"))
def reconstruct(
    variables: Variables, images: Array, *, model: nn.Module, likelihood: Likelihood
) -> Array:
    """Reconstructions in [0, 1] of images [B, H, W, C], through codes or their posterior means."""
    return likelihood.image(call(model, variables, likelihood.scale(pixels(images))))


@partial(jax.jit, static_argnames=("model", "likelihood"))
def encode(
    variables: Variables, images: Array, *, model: nn.Module, likelihood: Likelihood
) -> Array:
    """The codes of images [B, H, W, C], or the means of their posteriors."""
    return call(model, variables, likelihood.scale(pixels(images)), method="encode")


@partial(jax.jit, static_argnames=("model", "likelihood"))
def decode(variables: Variables, z: Array, *, model: nn.Module, likelihood: Likelihood) -> Array:
    """The images [B, H, W, C] in [0, 1] that codes stand for."""
    return likelihood.image(call(model, variables, z, method="decode"))
