"""Terms of objectives, one number per example: float [B], summed over its pixels or dimensions."""

import math
from functools import partial

import flax.linen as nn
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


def continuous_bernoulli(logits: Array, targets: Array) -> Array:
    """-log p(targets | logits) of continuous Bernoulli pixels, in nats, [B, ...] to [B].

    A density over [0, 1] that grows or falls exponentially: the cross-entropy less its normalizer
    (Loaiza-Ganem and Cunningham 2019). Below zero where the density is above one. Finite, with
    finite gradients, at any finite logit.
    """
    check_same_shape(logits, targets)
    return sum_per_example(
        cross_entropy(logits, targets) - continuous_bernoulli_log_normalizer(logits)
    )


def continuous_bernoulli_log_normalizer(logits: Array) -> Array:
    """log C = log(logits / tanh(logits / 2)), elementwise; log 2 at a logit of 0.

    Loaiza-Ganem and Cunningham 2019, section 3, in terms of the logit.
    """
    near = jnp.abs(logits) < 0.5  # where the quotient of two small numbers loses digits
    square = jnp.square(jnp.where(near, logits, 0))
    coefficients = (-127 / 4838400, 31 / 90720, -7 / 1440, 1 / 12, math.log(2))
    series = jnp.polyval(jnp.array(coefficients, logits.dtype), square)
    # Neither branch may overflow where the other is taken: its gradient, times zero, would be nan.
    away = jnp.where(near, 1, logits)
    return jnp.where(near, series, jnp.log(away / jnp.tanh(away / 2)))


def gaussian(mean: Array, log_variance: Array, targets: Array) -> Array:
    """-log N(targets; mean, exp(log_variance)) in nats, [B, ...] to [B].

    A density: below zero where a target of small variance is met. Finite, with finite gradients,
    for log variances within ±80, if mean and targets are in [0, 1].
    """
    check_same_shape(mean, targets)
    check_same_shape(log_variance, targets)
    standardized = (targets - mean) * jnp.exp(-log_variance / 2)
    return 0.5 * sum_per_example(math.log(2 * math.pi) + log_variance + jnp.square(standardized))


def discretized_logistic(location: Array, log_scale: Array, targets: Array) -> Array:
    """-log P(targets) of 256 levels of grey in nats, [B, ...] to [B].

    The mass that a logistic density has within half a level of a target; black has all of it below
    as well, and white all above (Kingma et al. 2016; Salimans et al. 2017, eq. 2). Locations,
    scales and targets are in the units of pixels in [0, 1]; targets are rounded to levels. Finite,
    with finite gradients, for log scales within ±80, if locations are in [0, 1].
    """
    check_same_shape(location, targets)
    check_same_shape(log_scale, targets)
    level = jnp.clip(jnp.round(255 * targets), 0, 255)
    per_level = jnp.exp(-log_scale) / 255  # a level's width, in scales
    upper = (level + 0.5 - 255 * location) * per_level
    lower = (level - 0.5 - 255 * location) * per_level
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), whose logarithm no
    # cancellation spoils; and an open bin lacks two of the factors.
    has_upper, has_lower = level < 255, level > 0
    width = jnp.log(-jnp.expm1(-per_level))
    log_mass = (
        jnp.where(has_upper, nn.log_sigmoid(upper), 0)
        + jnp.where(has_lower, nn.log_sigmoid(-lower), 0)
        + jnp.where(has_upper & has_lower, width, 0)
    )
    return -sum_per_example(log_mass)


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
