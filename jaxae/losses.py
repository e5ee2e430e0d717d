"""Terms of objectives, one number per example: float [B], summed over its pixels or dimensions."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxae.errors import UserError


def sum_per_example(values: Array) -> Array:
    """Sums over all axes but the first, [B, ...] to [B]."""
    values = values.reshape(values.shape[0], -1)
    return lax.platform_dependent(values, cpu=sum_by_product, default=partial(jnp.sum, axis=1))


def sum_by_product(values: Array) -> Array:
    """The sums of rows, [B, D] to [B], as a product with ones.

    XLA computes on the CPU what it fuses into a sum without vectorizing it, a logarithm say.
    """
    return lax.dot(values, jnp.ones(values.shape[1], values.dtype))


def check_same_shape(values: Array, others: Array) -> None:
    """UserError unless both are [B, ...] of one shape, so that none is broadcast to the other."""
    if values.shape != others.shape or values.ndim < 1:
        raise UserError(
            f"a loss was asked of shapes {values.shape} and {others.shape}: give two arrays of one "
            "shape [B, ...]"
        )


def bernoulli(logits: Array, targets: Array) -> Array:
    """-log p(targets | logits) of independent Bernoulli pixels, in nats, [B, ...] to [B].

    Targets lie in [0, 1]; between the two this is the cross-entropy. Finite, with finite gradients,
    at any finite logit.
    """
    check_same_shape(logits, targets)
    return sum_per_example(cross_entropy(logits, targets))


@jax.custom_jvp
def cross_entropy(logits: Array, targets: Array) -> Array:
    """softplus(logits) - logits * targets, elementwise."""
    # As l (1 - t) or -l t and a remainder: no exponential overflows, and a confident logit keeps
    # its small loss.
    linear = logits * jnp.where(logits >= 0, 1 - targets, -targets)
    return linear + jnp.log1p(jnp.exp(-jnp.abs(logits)))


@cross_entropy.defjvp
def cross_entropy_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """sigmoid(logits) - targets, from the exponential of the value, and -logits."""
    (logits, targets), (logits_tangent, targets_tangent) = primals, tangents
    exponential = jnp.exp(-jnp.abs(logits))
    remainder = exponential / (1 + exponential)
    slope = jnp.where(logits >= 0, 1 - targets - remainder, remainder - targets)
    return cross_entropy(logits, targets), slope * logits_tangent - logits * targets_tangent


def squared_error(predictions: Array, targets: Array) -> Array:
    """Squared Euclidean distance, [B, ...] to [B].

    Up to a constant, -log p of a Gaussian with mean `predictions` and variance 1/2.
    """
    check_same_shape(predictions, targets)
    return sum_per_example(jnp.square(predictions - targets))


def kl_to_standard_normal(mean: Array, log_variance: Array) -> Array:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, [B, latent] to [B].

    Kingma and Welling 2014, appendix B.
    """
    check_same_shape(mean, log_variance)
    return 0.5 * sum_per_example(jnp.square(mean) + jnp.expm1(log_variance) - log_variance)
