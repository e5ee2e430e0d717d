"""Objectives of networks whose code is drawn from a posterior: the ELBO and its kin."""

import jax.numpy as jnp
from jax import Array

from jaxae import losses
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives.posterior import check_count, draw
from jaxae.train import Batch, Terms, Variables, weighted_mean


def negative_elbo(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    beta: float = 1.0,
) -> Terms:
    """-E_q log p(x | z) + beta KL(q(z | x) || N(0, 1)), in nats, with one sample of z.

    Kingma and Welling 2014, eq. 10; beta as in Higgins et al. 2017. The metrics are the negative
    ELBO itself (beta 1) and its two terms, which add up to it.
    """
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    z = draw(key, posterior)
    distortion = network.distortion(variables, z, batch)
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
    network: Network,
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
    terms = negative_elbo(variables, key, batch, network=network)
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
