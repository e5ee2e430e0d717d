"""Losses with one number per example, float [batch], summed over its pixels or dimensions.

Nothing is broadcast: arrays of different shapes raise `UserError`.
"""

import math
from functools import partial, reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Num

from jaxae.errors import UserError


def sum_per_example(values: Float[Array, "batch *shape"]) -> Float[Array, " batch"]:
    """Sums over all axes but the first."""
    values = values.reshape(values.shape[0], -1)
    return lax.platform_dependent(values, cpu=_sum_by_product, default=partial(jnp.sum, axis=1))


def _sum_by_product(values: Float[Array, "batch dimension"]) -> Float[Array, " batch"]:
    """Sums rows by a product with ones.

    XLA on the CPU does not vectorize what it fuses into a sum, such as a logarithm.
    """
    return lax.dot(values, jnp.ones(values.shape[1], values.dtype))


def _check_pair(values: Num[Array, "..."], others: Num[Array, "..."]) -> None:
    """Raises `UserError` unless both are floats of one shape [batch, ...]; nothing is broadcast."""
    if values.shape != others.shape or values.ndim < 1:
        raise UserError(
            f"a loss was asked of shapes {values.shape} and {others.shape}: give two arrays of one "
            "shape [B, ...]"
        )
    if not all(jnp.issubdtype(array.dtype, jnp.floating) for array in (values, others)):
        raise UserError(
            f"a loss was asked of types {values.dtype} and {others.dtype}: give floats; "
            "jaxae.train.pixels converts uint8 images"
        )


def bernoulli(
    logits: Float[Array, "batch *shape"], targets: Float[Array, "batch *shape"]
) -> Float[Array, " batch"]:
    """-log p(targets | logits) of independent Bernoulli pixels, in nats.

    Targets lie in [0, 1]; for values in between, this is the cross-entropy. The loss and its
    gradients are finite at any finite logit.
    """
    _check_pair(logits, targets)
    return sum_per_example(cross_entropy(logits, targets))


@jax.custom_jvp
def cross_entropy(
    logits: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """softplus(logits) - logits * targets, elementwise."""
    # In this form, l (1 - t) or -l t plus a remainder, no exponential overflows, and the small loss
    # of a confident logit keeps its digits.
    linear = logits * jnp.where(logits >= 0, 1 - targets, -targets)
    return linear + _log1p_exp(-jnp.abs(logits))


@cross_entropy.defjvp
def _cross_entropy_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Derivatives sigmoid(logits) - targets and -logits."""
    (logits, targets), (logits_tangent, targets_tangent) = primals, tangents
    # The sigmoid is used once, and shares no exponential with the value. So XLA on the CPU computes
    # each of the two in one pass, and writes nothing in between to memory.
    positive = logits >= 0
    remainder = nn.sigmoid(jnp.where(positive, -logits, logits))
    slope = jnp.where(positive, 1 - targets, -targets) + jnp.where(positive, -1.0, 1.0) * remainder
    return cross_entropy(logits, targets), slope * logits_tangent - logits * targets_tangent


def _log1p_exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + exp(x)) of numbers up to 0, elementwise; keeps the digits of small results."""
    if x.dtype != jnp.float32:
        return jnp.log1p(jnp.exp(x))
    # 2 artanh(ratio) as a series; a ratio of at most 1/3 leaves out less than 2e-8 of it. XLA on
    # the CPU takes nearly twice the time for `log1p`.
    ratio = 1 / (1 + 2 * jnp.exp(-x))
    square = ratio * ratio
    return ratio * reduce(lambda total, n: total * square + 2 / n, (11, 9, 7, 5, 3, 1), 2 / 13)


def continuous_bernoulli(
    logits: Float[Array, "batch *shape"], targets: Float[Array, "batch *shape"]
) -> Float[Array, " batch"]:
    """-log p(targets | logits) of continuous Bernoulli pixels, in nats.

    This density on [0, 1] rises or falls exponentially; its loss is the cross-entropy minus the log
    normalizer (Loaiza-Ganem and Cunningham 2019). The loss is negative where the density exceeds 1.
    The loss and its gradients are finite at any finite logit.
    """
    _check_pair(logits, targets)
    return sum_per_example(
        cross_entropy(logits, targets) - continuous_bernoulli_log_normalizer(logits)
    )


def continuous_bernoulli_log_normalizer(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log C = log(logits / tanh(logits / 2)), elementwise; log 2 at a logit of 0.

    Loaiza-Ganem and Cunningham 2019, section 3, in terms of the logit.
    """
    near = jnp.abs(logits) < 0.5  # where the quotient of two small numbers loses digits
    square = jnp.square(jnp.where(near, logits, 0))
    coefficients = (-127 / 4838400, 31 / 90720, -7 / 1440, 1 / 12, math.log(2))
    series = jnp.polyval(jnp.array(coefficients, logits.dtype), square)
    # Both branches stay finite everywhere: the gradient of the one not taken is multiplied by zero,
    # and zero times infinity is NaN.
    away = jnp.where(near, 1, logits)
    return jnp.where(near, series, jnp.log(away / jnp.tanh(away / 2)))


def gaussian(
    mean: Float[Array, "batch *shape"],
    log_variance: Float[Array, "batch *shape"],
    targets: Float[Array, "batch *shape"],
) -> Float[Array, " batch"]:
    """-log N(targets; mean, exp(log_variance)) in nats.

    The loss is negative where the density exceeds 1. For mean and targets in [0, 1], the loss and
    its gradients are finite if log variances lie within ±80.
    """
    _check_pair(mean, targets)
    _check_pair(log_variance, targets)
    standardized = (targets - mean) * jnp.exp(-log_variance / 2)
    return 0.5 * sum_per_example(math.log(2 * math.pi) + log_variance + jnp.square(standardized))


def discretized_logistic(
    location: Float[Array, "batch *shape"],
    log_scale: Float[Array, "batch *shape"],
    targets: Float[Array, "batch *shape"],
) -> Float[Array, " batch"]:
    """-log P(targets) of 256 gray levels, in nats.

    A level's probability is the mass that a logistic density puts within half a level of it; black
    also takes all mass below it, and white all mass above (Kingma et al. 2016; Salimans et al.
    2017, eq. 2). Locations, scales and targets are in units of pixels in [0, 1], and targets are
    rounded to levels. For locations in [0, 1], the loss and its gradients are finite if log scales
    lie within ±80.
    """
    _check_pair(location, targets)
    _check_pair(log_scale, targets)
    level = jnp.clip(jnp.round(255 * targets), 0, 255)
    per_level = jnp.exp(-log_scale) / 255  # the width of a level, in scales
    upper = (level + 0.5 - 255 * location) * per_level
    lower = (level - 0.5 - 255 * location) * per_level
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): the log of the product has
    # no cancellation. The open bins of black and white lack two of the factors.
    has_upper, has_lower = level < 255, level > 0
    width = jnp.log(-jnp.expm1(-per_level))
    log_mass = (
        jnp.where(has_upper, nn.log_sigmoid(upper), 0)
        + jnp.where(has_lower, nn.log_sigmoid(-lower), 0)
        + jnp.where(has_upper & has_lower, width, 0)
    )
    return -sum_per_example(log_mass)


def squared_error(
    predictions: Float[Array, "batch *shape"], targets: Float[Array, "batch *shape"]
) -> Float[Array, " batch"]:
    """The squared Euclidean distance of each example.

    Up to a constant, this is -log p of a Gaussian with mean `predictions` and variance 1/2.
    """
    _check_pair(predictions, targets)
    return sum_per_example(jnp.square(predictions - targets))


def kl_to_standard_normal(
    mean: Float[Array, "batch *latent"], log_variance: Float[Array, "batch *latent"]
) -> Float[Array, " batch"]:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats.

    Kingma and Welling 2014, appendix B.
    """
    _check_pair(mean, log_variance)
    return 0.5 * sum_per_example(jnp.square(mean) + jnp.expm1(log_variance) - log_variance)
