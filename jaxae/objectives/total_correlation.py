"""The ELBO with its KL term in three parts, of which the total correlation has a weight."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp

from jaxae.models import Gaussian
from jaxae.network import Network
from jaxae.objectives.posterior import (
    check_count,
    codes_at,
    sampled_kl,
)
from jaxae.train import Batch, Terms, Variables


def beta_tc(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    size: int,
    beta: float = 6.0,
) -> Terms:
    """Reconstruction, mutual information, beta times total correlation, and dimension-wise KL.

    Chen et al. 2018, eq. 4 with alpha = gamma = 1, in nats, with one sample of z; `size` is the
    number of training images. The last three metrics of the four add up to the sampled KL, log
    q(z | x) - log p(z). Raises UserError for a size less than 1.
    """
    check_count("size", size)
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    noise = jax.random.normal(key, posterior.mean.shape)
    z = codes_at(posterior, noise)
    reconstruction = network.distortion(variables, z, batch)
    kl = sampled_kl(posterior, noise)
    parts = kl_parts(posterior, noise, log_shares(batch.weights, size))
    weighted = beta * parts["total_correlation"]
    loss = reconstruction + parts["mutual_information"] + weighted + parts["dimension_wise_kl"]
    return Terms(loss, {"reconstruction": reconstruction, **parts, "kl": kl})


def kl_parts(posterior: Gaussian, noise: Array, shares: Array) -> dict[str, Array]:
    """The three parts of the KL term at codes that noise [B, latent] picks, each float [B].

    `shares` [B, B] is the log of what each posterior, along axis 1, counts for in the estimate of
    the aggregate posterior q(z) at each code. (Chen et al. 2018, eq. 2)
    """
    densities = log_densities(posterior, noise)
    log_posterior = -(jnp.square(noise) + posterior.log_variance).sum(axis=1) / 2
    log_aggregate = logsumexp(densities.sum(axis=2) + shares, axis=1)
    log_marginals = logsumexp(densities + shares[:, :, None], axis=1).sum(axis=1)
    log_prior = -jnp.square(codes_at(posterior, noise)).sum(axis=1) / 2
    return {
        "mutual_information": log_posterior - log_aggregate,
        "total_correlation": log_aggregate - log_marginals,
        "dimension_wise_kl": log_marginals - log_prior,
    }


def log_densities(posterior: Gaussian, noise: Array) -> Array:
    """log q(z_i | x_j) of each dimension, [B, B, latent], without the constant log(2 pi) / 2."""
    mean, log_variance = posterior.mean, posterior.log_variance
    # To another's code a posterior narrower than this is as far away; nothing overflows.
    inverse_scale = jnp.exp(-jnp.maximum(log_variance, -55) / 2)
    codes = codes_at(posterior, noise)
    distances = (codes[:, None] - mean[None]) * inverse_scale[None]
    itself = jnp.eye(len(mean), dtype=bool)[:, :, None]
    distances = jnp.where(itself, noise[:, None], distances)  # no rounding of z - mean
    return -(jnp.square(distances) + log_variance[None]) / 2


def log_shares(weights: Array, size: int) -> Array:
    """The log of what example j of a batch stands for in q(z) at the code of i, float [B, B].

    Of all `size` images i stands for itself, and the others of the batch, less those of weight 0,
    for the rest. This is the mean of the minibatch stratified estimates (Chen et al. 2018, appendix
    C) over all orders of the batch: unbiased as each of them, with less variance, exact for a batch
    of all images, and positive for a batch of more. An example alone stands for all.
    """
    others = jnp.sum(weights) - 1
    own = jnp.where(others > 0, 1 / size, 1.0)
    other = (1 - own) / jnp.maximum(others, 1)
    shares = jnp.broadcast_to((other * weights)[None], (len(weights), len(weights)))
    return jnp.log(jnp.where(jnp.eye(len(weights), dtype=bool), own, shares))
