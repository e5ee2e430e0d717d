"""Objectives of networks whose code is drawn from a posterior: the ELBO and its kin."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxae import losses
from jaxae.batches import Batch
from jaxae.likelihoods import Likelihood
from jaxae.models import Gaussian
from jaxae.objectives.networks import call, condition, network_input, targets_of
from jaxae.steps import Terms, Variables


def negative_elbo(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
    beta: float = 1.0,
) -> Terms:
    """-E_q log p(x | z) + beta KL(q(z | x) || N(0, 1)), in nats, with one sample of z.

    Kingma and Welling 2014, eq. 10; beta as in Higgins et al. 2017. The metrics are the negative
    ELBO itself (beta 1) and its two terms, which add up to it.
    """
    posterior = posterior_of(variables, batch, model=model, likelihood=likelihood)
    z = draw(key, posterior)
    distortion = distortion_of(variables, z, batch, model=model, likelihood=likelihood)
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    return Terms(
        distortion + beta * kl,
        {"negative_elbo": distortion + kl, "reconstruction": distortion, "kl": kl},
    )


def posterior_of(
    variables: Variables, batch: Batch, *, model: nn.Module, likelihood: Likelihood
) -> Gaussian:
    """q(z | x) of a batch's inputs, and of its labels if the model has classes."""
    x = network_input(batch, likelihood)
    return call(model, variables, x, *condition(model, batch.labels), method="posterior")


def draw(key: Array, posterior: Gaussian) -> Array:
    """A sample of each posterior, float [B, latent], through which its gradient goes."""
    noise = jax.random.normal(key, posterior.mean.shape)
    return posterior.mean + jnp.exp(posterior.log_variance / 2) * noise


def distortion_of(
    variables: Variables, z: Array, batch: Batch, *, model: nn.Module, likelihood: Likelihood
) -> Array:
    """The loss [B] of a batch's images under what codes [B, latent] decode to."""
    logits = call(model, variables, z, *condition(model, batch.labels), method="decode")
    return likelihood.loss(logits, targets_of(batch, likelihood))
