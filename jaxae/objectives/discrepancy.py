"""Objectives that draw all codes of a batch together to the prior N(0, 1)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxae import losses
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives.posterior import draw
from jaxae.objectives.regularized import encode_and_reconstruct
from jaxae.train import Batch, Terms, Variables

Kernel = Callable[[Array, int], Array]
"""From squared distances of any shape, and the dimension of the space, to values of at most 7."""

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of a kernel's width, whose values are summed; 1 suits two draws from a standard normal."""


def imq(squared_distances: Array, dimension: int) -> Array:
    """Inverse multiquadratics C / (C + d^2), C = 2 dimension * scale (Tolstikhin et al. 2018)."""
    widths = [2 * dimension * scale for scale in SCALES]
    return sum((width / (width + squared_distances) for width in widths), jnp.zeros(()))


def rbf(squared_distances: Array, dimension: int) -> Array:
    """Gaussian kernels exp(-d^2 / C), C = 2 dimension * scale."""
    widths = [2 * dimension * scale for scale in SCALES]
    return sum((jnp.exp(-squared_distances / width) for width in widths), jnp.zeros(()))


def mmd(samples: Array, others: Array, weights: Array, *, kernel: Kernel = imq) -> Array:
    """The squared maximum mean discrepancy of samples and others, float [B, D] each: a scalar.

    Unbiased, so that it can be below 0 (Gretton et al. 2012, eq. 3). Rows of weight 0 in weights
    [B] are left out of both; of fewer than two rows it is 0.
    """
    samples, others = (jnp.where(weights[:, None] > 0, rows, 0) for rows in (samples, others))
    pairs = weights[:, None] * weights[None, :]
    different = pairs * (1 - jnp.eye(len(weights)))

    def mean(a: Array, b: Array, pairs: Array) -> Array:
        values = kernel(squared_distances(a, b), a.shape[1])
        return jnp.sum(values * pairs) / jnp.maximum(jnp.sum(pairs), 1)

    within = mean(samples, samples, different) + mean(others, others, different)
    return jnp.where(jnp.sum(weights) > 1, within - 2 * mean(samples, others, pairs), 0)


def squared_distances(a: Array, b: Array) -> Array:
    """Of each of a [N, D] to each of b [M, D]: float [N, M]."""
    # What both have in common cancels first, or it would cost digits.
    center = b.mean(axis=0, keepdims=True)
    a, b = a - center, b - center
    products = jnp.dot(a, b.T, precision=lax.Precision.HIGHEST)
    squares = jnp.square(a).sum(axis=1)[:, None] + jnp.square(b).sum(axis=1)[None, :]
    return jnp.maximum(squares - 2 * products, 0)  # rounding may put equal points below 0


def wasserstein(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    weight: float = 100.0,
    kernel: Kernel = imq,
) -> Terms:
    """Reconstruction and the MMD between codes and prior (Tolstikhin et al. 2018, algorithm 2).

    The weight is in units of the likelihood's loss: the paper's 10 for MNIST is of a squared error
    an image, and 500 under Gaussian pixels with a standard deviation of 0.1.
    """
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    discrepancy = to_prior(key, z, batch, kernel)
    return Terms(
        reconstruction + weight * discrepancy,
        {"reconstruction": reconstruction, "discrepancy": discrepancy},
    )


def info_vae(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    alpha: float = 0.5,
    strength: float = 100.0,
    kernel: Kernel = imq,
) -> Terms:
    """Reconstruction, (1 - alpha) KL, and (alpha + strength - 1) times the MMD of codes and prior.

    Zhao et al. 2019, eq. 6, whose lambda is the strength. Raises UserError where the discrepancy's
    weight is below 0.
    """
    if alpha + strength < 1:
        raise UserError(
            f"alpha = {alpha} and strength = {strength} were given: their sum is 1 or more, or the "
            "discrepancy would be maximized"
        )
    code_key, prior_key = jax.random.split(key)
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    z = draw(code_key, posterior)
    reconstruction = network.distortion(variables, z, batch)
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    discrepancy = to_prior(prior_key, z, batch, kernel)
    return Terms(
        reconstruction + (1 - alpha) * kl + (alpha + strength - 1) * discrepancy,
        {"reconstruction": reconstruction, "kl": kl, "discrepancy": discrepancy},
    )


def to_prior(key: Array, z: Array, batch: Batch, kernel: Kernel) -> Array:
    """The MMD between codes [B, ...] and as many draws from the prior, a scalar."""
    codes = z.reshape(z.shape[0], -1)
    return mmd(codes, jax.random.normal(key, codes.shape), batch.weights, kernel=kernel)
