"""The ELBO and its variants, for networks whose code is drawn from a posterior."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from jaxae import losses
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives.posterior import check_count, draw
from jaxae.train import Batch, Terms, Variables, weighted_mean


def negative_elbo(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    beta: Float[Array, ""] | float = 1.0,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """-E_q log p(x | z) + kl_weight beta KL(q(z | x) || N(0, 1)), in nats, with one sample of z.

    Kingma and Welling 2014, eq. 10; beta as in Higgins et al. 2017. The metrics are the negative
    ELBO (with both weights 1) and the two terms that add up to it.
    """
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    z = draw(key, posterior)
    distortion = network.distortion(variables, z, batch)
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    return Terms(
        distortion + kl_weight * beta * kl,
        {"negative_elbo": distortion + kl, "reconstruction": distortion, "kl": kl},
    )


def capacity_annealed(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    gamma: Float[Array, ""] | float = 1000.0,
    capacity: Float[Array, ""] | float = 25.0,
    anneal_steps: int = 100_000,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """Reconstruction + kl_weight gamma |KL - C|, where C grows from 0 to `capacity` nats.

    Burgess et al. 2018, eq. 8. The KL term is the mean over the batch, because the capacity limits
    the average over images, not each image. C grows linearly with the steps counted in the
    variables' "schedule", up to `anneal_steps`; the collections return the count plus one. Raises
    `UserError` without a schedule, and if `anneal_steps` is less than 1.
    """
    check_count("anneal_steps", anneal_steps)
    if "schedule" not in variables:
        raise UserError('variables without "schedule" were given: add those of capacity_schedule()')
    terms = negative_elbo(variables, key, batch, network=network)
    steps = variables["schedule"]["steps"]
    current = capacity * jnp.minimum(steps / anneal_steps, 1)
    gap = jnp.abs(weighted_mean(terms.metrics["kl"], batch.weights) - current)
    return Terms(
        terms.metrics["reconstruction"] + kl_weight * gamma * gap,
        {**terms.metrics, "capacity": current, "capacity_gap": gap},
        {"schedule": {"steps": steps + 1}},
    )


def capacity_schedule() -> Variables:
    """Returns the collection in which `capacity_annealed` counts steps, with a count of 0."""
    return {"schedule": {"steps": jnp.zeros((), jnp.int32)}}
