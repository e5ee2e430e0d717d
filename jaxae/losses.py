"""Terms of objectives, one number per example: float [B], summed over its pixels or dimensions."""

from functools import partial

import jax.numpy as jnp
from jax import Array, lax


def sum_per_example(values: Array) -> Array:
    """Sums over all axes but the first, [B, ...] to [B]."""
    values = values.reshape(values.shape[0], -1)
    return lax.platform_dependent(values, cpu=sum_by_product, default=partial(jnp.sum, axis=1))


def sum_by_product(values: Array) -> Array:
    """The sums of rows, [B, D] to [B], as a product with ones.

    XLA computes on the CPU what it fuses into a sum without vectorizing it, a logarithm say.
    """
    return lax.dot(values, jnp.ones(values.shape[1], values.dtype))


def bernoulli(logits: Array, targets: Array) -> Array:
    """-log p(targets | logits) of independent Bernoulli pixels, in nats, [B, ...] to [B].

    Targets lie in [0, 1]; between the two this is the cross-entropy. Finite, with finite gradients,
    at any finite logit.
    """
    # softplus(l) - l t, with l (1 - t) or -l t in place of their difference: no exponential
    # overflows, and a confident logit keeps its small loss and gradient. At 0 the side taken is
    # that of abs's derivative.
    linear = logits * jnp.where(logits >= 0, 1 - targets, -targets)
    return sum_per_example(linear + jnp.log1p(jnp.exp(-jnp.abs(logits))))


def squared_error(predictions: Array, targets: Array) -> Array:
    """Squared Euclidean distance, [B, ...] to [B].

    Up to a constant, -log p of a Gaussian with mean `predictions` and variance 1/2.
    """
    return sum_per_example(jnp.square(predictions - targets))


def kl_to_standard_normal(mean: Array, log_variance: Array) -> Array:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, [B, latent] to [B].

    Kingma and Welling 2014, appendix B.
    """
    return 0.5 * sum_per_example(jnp.square(mean) + jnp.expm1(log_variance) - log_variance)
