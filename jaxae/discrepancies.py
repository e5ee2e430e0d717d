"""How far apart two distributions are, from samples of both."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

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
