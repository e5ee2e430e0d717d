"""The beta-TC-VAE: the ELBO with its KL term in three parts and a weight on total correlation."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp
from jaxtyping import Float, Key

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
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    size: int,
    beta: Float[Array, ""] | float = 6.0,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """Reconstruction + mutual information + beta * total correlation + dimension-wise KL.

    Chen et al. 2018, eq. 4 with alpha = gamma = 1, in nats, with one sample of z; `size` is the
    number of training images. `kl_weight` multiplies the last three terms. The metrics hold the
    four terms without weights, and "kl", the sampled KL log q(z | x) - log p(z), to which the last
    three terms add up. Raises `UserError` if the size is less than 1.
    """
    check_count("size", size)
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    noise = jax.random.normal(key, posterior.mean.shape)
    z = codes_at(posterior, noise)
    reconstruction = network.distortion(variables, z, batch)
    kl = sampled_kl(posterior, noise)
    parts = kl_parts(posterior, noise, log_shares(batch.weights, size))
    loss = reconstruction + kl_weight * parts["mutual_information"]
    loss = loss + kl_weight * beta * parts["total_correlation"]
    loss = loss + kl_weight * parts["dimension_wise_kl"]
    return Terms(loss, {"reconstruction": reconstruction, **parts, "kl": kl})


def kl_parts(
    posterior: Gaussian,
    noise: Float[Array, "batch latent"],
    shares: Float[Array, "batch batch"],
) -> dict[str, Float[Array, " batch"]]:
    """Returns the three parts of the KL term at the codes that correspond to the noise.

    Entry [i, j] of `shares` is the log weight of example j's posterior in the estimate of the
    aggregate posterior q(z) at example i's code (Chen et al. 2018, eq. 2).
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


def log_densities(
    posterior: Gaussian, noise: Float[Array, "batch latent"]
) -> Float[Array, "batch batch latent"]:
    """log q(z_i | x_j) of each dimension, without the constant log(2 pi) / 2."""
    mean, log_variance = posterior.mean, posterior.log_variance
    # The bound prevents overflow; at another example's code a narrower posterior is as negligible.
    inverse_scale = jnp.exp(-jnp.maximum(log_variance, -55) / 2)
    codes = codes_at(posterior, noise)
    distances = (codes[:, None] - mean[None]) * inverse_scale[None]
    itself = jnp.eye(len(mean), dtype=bool)[:, :, None]
    distances = jnp.where(itself, noise[:, None], distances)  # no rounding of z - mean
    return -(jnp.square(distances) + log_variance[None]) / 2


def log_shares(weights: Float[Array, " batch"], size: int) -> Float[Array, "batch batch"]:
    """The log weight of each example j in the estimate of q(z) at the code of each example i.

    Example i represents itself among `size` images, and the other examples of weight 1 represent
    the rest. This is the mean of the minibatch stratified estimates (Chen et al. 2018, appendix C)
    over all orders of the batch: unbiased like each of them, with less variance, exact if the batch
    holds all images, and positive if it holds more. A single example represents all images.
    """
    others = jnp.sum(weights) - 1
    own = jnp.where(others > 0, 1 / size, 1.0)
    other = (1 - own) / jnp.maximum(others, 1)
    shares = jnp.broadcast_to((other * weights)[None], (len(weights), len(weights)))
    return jnp.log(jnp.where(jnp.eye(len(weights), dtype=bool), own, shares))
