"""Objectives that pull the distribution of a batch's codes toward the prior N(0, 1)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Key

from jaxae import losses
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives.posterior import draw, is_known
from jaxae.objectives.regularized import encode_and_reconstruct
from jaxae.train import Batch, Terms, Variables

Kernel = Callable[[Array, int], Array]
"""A function of squared distances of any shape and the dimension of the space."""

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Scales of a kernel's width, over which it is summed; 1 suits draws from a standard normal."""


def imq(squared_distances: Float[Array, "*shape"], dimension: int) -> Float[Array, "*shape"]:
    """Inverse multiquadratics C / (C + d^2), C = 2 dimension * scale (Tolstikhin et al. 2018)."""
    widths = [2 * dimension * scale for scale in SCALES]
    return sum((width / (width + squared_distances) for width in widths), jnp.zeros(()))


def rbf(squared_distances: Float[Array, "*shape"], dimension: int) -> Float[Array, "*shape"]:
    """Gaussian kernels exp(-d^2 / C), C = 2 dimension * scale."""
    widths = [2 * dimension * scale for scale in SCALES]
    return sum((jnp.exp(-squared_distances / width) for width in widths), jnp.zeros(()))


def mmd(
    samples: Float[Array, "batch dimension"],
    others: Float[Array, "batch dimension"],
    weights: Float[Array, " batch"],
    *,
    kernel: Kernel = imq,
) -> Float[Array, ""]:
    """An unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3).

    It can be negative. Rows of weight 0 are left out of both sets; with fewer than two rows the
    estimate is 0.
    """
    samples, others = (jnp.where(weights[:, None] > 0, rows, 0) for rows in (samples, others))
    pairs = weights[:, None] * weights[None, :]
    different = pairs * (1 - jnp.eye(len(weights)))

    def mean(a: Array, b: Array, pairs: Array) -> Array:
        values = kernel(squared_distances(a, b), a.shape[1])
        return jnp.sum(values * pairs) / jnp.maximum(jnp.sum(pairs), 1)

    within = mean(samples, samples, different) + mean(others, others, different)
    return jnp.where(jnp.sum(weights) > 1, within - 2 * mean(samples, others, pairs), 0)


def squared_distances(
    a: Float[Array, "N dimension"], b: Float[Array, "M dimension"]
) -> Float[Array, "N M"]:
    """The squared distance from each row of a to each row of b."""
    # Subtracting a common center first keeps digits that the products would lose.
    center = b.mean(axis=0, keepdims=True)
    a, b = a - center, b - center
    products = jnp.dot(a, b.T, precision=lax.Precision.HIGHEST)
    squares = jnp.square(a).sum(axis=1)[:, None] + jnp.square(b).sum(axis=1)[None, :]
    return jnp.maximum(squares - 2 * products, 0)  # rounding can take a distance below 0


def wasserstein(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    weight: Float[Array, ""] | float = 100.0,
    kernel: Kernel = imq,
) -> Terms:
    """Reconstruction plus the MMD between codes and prior (Tolstikhin et al. 2018, algorithm 2).

    The weight is in units of the likelihood's loss. The paper's weight of 10 for MNIST applies to
    the squared error of an image; it equals 500 for Gaussian pixels with standard deviation 0.1.
    """
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    discrepancy = _mmd_to_prior(key, z, batch, kernel)
    return Terms(
        reconstruction + weight * discrepancy,
        {"reconstruction": reconstruction, "discrepancy": discrepancy},
    )


def info_vae(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    alpha: Float[Array, ""] | float = 0.5,
    strength: Float[Array, ""] | float = 100.0,
    kernel: Kernel = imq,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """Reconstruction + (1 - alpha) KL + (alpha + strength - 1) MMD between codes and prior.

    Zhao et al. 2019, eq. 6, where `strength` is lambda. `kl_weight` multiplies (1 - alpha) KL,
    and not the MMD. Raises `UserError` if the MMD's weight is negative.
    """
    if is_known(alpha, strength) and alpha + strength < 1:
        raise UserError(
            f"alpha = {alpha} and strength = {strength} were given: give a sum of 1 or more, or "
            "the discrepancy would be maximized"
        )
    code_key, prior_key = jax.random.split(key)
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    z = draw(code_key, posterior)
    reconstruction = network.distortion(variables, z, batch)
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    discrepancy = _mmd_to_prior(prior_key, z, batch, kernel)
    return Terms(
        reconstruction + kl_weight * (1 - alpha) * kl + (alpha + strength - 1) * discrepancy,
        {"reconstruction": reconstruction, "kl": kl, "discrepancy": discrepancy},
    )


def _mmd_to_prior(key: Array, z: Array, batch: Batch, kernel: Kernel) -> Array:
    """The MMD, a scalar, between codes [B, ...] and as many draws from the prior."""
    codes = z.reshape(z.shape[0], -1)
    return mmd(codes, jax.random.normal(key, codes.shape), batch.weights, kernel=kernel)
