"""Objectives of networks whose code is drawn from a posterior: the ELBO and its kin."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxae import losses
from jaxae.errors import UserError
from jaxae.importance import check_count, codes_at
from jaxae.likelihoods import Likelihood
from jaxae.models import Gaussian
from jaxae.objectives.networks import call, condition, network_input, targets_of
from jaxae.train import Batch, Terms, Variables, weighted_mean


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


def capacity_annealed(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
    gamma: float = 1000.0,
    capacity: float = 25.0,
    anneal_steps: int = 100_000,
) -> Terms:
    """Reconstruction and gamma |KL - C|, where C grows from 0 to `capacity` nats.

    Burgess et al. 2018, eq. 8. The KL term is the batch's mean, for a capacity is an average over
    images, not what each has to use. C is linear in the steps counted in the variables' "schedule",
    up to `anneal_steps`; the count returns among the collections, one higher.
    Raises UserError without a schedule, and for less than one step.
    """
    check_count("anneal_steps", anneal_steps)
    if "schedule" not in variables:
        raise UserError('variables without "schedule" were given: add those of capacity_schedule()')
    terms = negative_elbo(variables, key, batch, model=model, likelihood=likelihood)
    steps = variables["schedule"]["steps"]
    current = capacity * jnp.minimum(steps / anneal_steps, 1)
    gap = jnp.abs(weighted_mean(terms.metrics["kl"], batch.weights) - current)
    return Terms(
        terms.metrics["reconstruction"] + gamma * gap,
        {**terms.metrics, "capacity": current, "capacity_gap": gap},
        {"schedule": {"steps": steps + 1}},
    )


def capacity_schedule() -> Variables:
    """The collection in which `capacity_annealed` counts its steps, before the first."""
    return {"schedule": {"steps": jnp.zeros((), jnp.int32)}}


def posterior_of(
    variables: Variables, batch: Batch, *, model: nn.Module, likelihood: Likelihood
) -> Gaussian:
    """q(z | x) of a batch's inputs, and of its labels if the model has classes."""
    x = network_input(batch, likelihood)
    return call(model, variables, x, *condition(model, batch.labels), method="posterior")


def draw(key: Array, posterior: Gaussian) -> Array:
    """A sample of each posterior, float [B, latent], through which its gradient goes."""
    return codes_at(posterior, jax.random.normal(key, posterior.mean.shape))


def distortion_of(
    variables: Variables, z: Array, batch: Batch, *, model: nn.Module, likelihood: Likelihood
) -> Array:
    """The loss [B] of a batch's images under what codes [B, latent] decode to."""
    logits = call(model, variables, z, *condition(model, batch.labels), method="decode")
    return likelihood.loss(logits, targets_of(batch, likelihood))


def distortions_of(
    variables: Variables, codes: Array, batch: Batch, *, model: nn.Module, likelihood: Likelihood
) -> Array:
    """The losses [samples, B] of a batch's images under each of codes [samples, B, latent]."""
    samples = len(codes)
    labels = (jnp.tile(given, samples) for given in condition(model, batch.labels))
    # All at once: the gradient of a vmapped decoder takes a third longer on a CPU.
    logits = call(model, variables, codes.reshape(-1, *codes.shape[2:]), *labels, method="decode")
    logits = logits.reshape(samples, -1, *logits.shape[1:])
    return jax.vmap(likelihood.loss, (0, None))(logits, targets_of(batch, likelihood))
